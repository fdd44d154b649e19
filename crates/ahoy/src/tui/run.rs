//! Joins terminal, clock and client to the model: the only part that waits for anything.

use std::sync::Arc;
use std::time::Duration;

use ahoy_client::driver::{Client, ClientError, Event, Events};
use ahoy_client::profile::{Identity, Profile};
use ratatui::crossterm::event::Event as TerminalEvent;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::effects::{self, Told};
use super::message::{Effect, Entrance, Input, News};
use super::model::{Call, CallStage, Drawn, Figures, Me, Model};
use super::terminal::{Screen, keyboard};
use super::theme::Theme;
use super::update::update;
use super::view::view;
use crate::cli::{Common, DEFAULT_NETWORK};
use crate::failure::{Exit, Failure};
use crate::interrupt::Interrupts;
use crate::when::Clock;
use crate::{online, place};

/// How often the clock moves, and with it levels and durations.
const TICK: Duration = Duration::from_millis(250);

/// What is asked of the network at once; a person asks for one thing at a time.
const TASKS: usize = 32;

/// Word that may wait to be taken in.
const NEWS: usize = 256;

/// Messages that wait to be written down.
const WORDS: usize = 256;

/// Whether the full-screen client can be shown at all.
pub(crate) fn is_possible() -> bool {
    Screen::is_there()
}

/// Shows the full-screen client until its user leaves.
pub(crate) fn run(common: &Common, theme: Option<Theme>) -> Result<(), Failure> {
    let identity = place::who(common)?;
    let theme = theme.unwrap_or_else(Theme::of_surroundings);
    online::run(async {
        let mut interrupts = Interrupts::new()?;
        let screen = Screen::open().map_err(|error| no_screen(&error))?;
        let (news, inbox) = mpsc::channel(NEWS);
        let mut model = Model::new(Clock::here(), theme);
        model.has_sound = cfg!(feature = "audio");
        let mut client = Runtime {
            common,
            model,
            screen,
            news,
            inbox,
            tasks: JoinSet::new(),
            online: None,
            words: None,
            quits: false,
            failure: None,
        };
        match identity {
            Some(identity) => client.connect(identity),
            None => {
                let network = common.network.as_ref().map_or_else(|| DEFAULT_NETWORK.to_owned(), ToString::to_string);
                client.take(Input::News(News::SignedOut { network }));
            }
        }
        client.follow(&mut interrupts).await
    })
}

fn no_screen(error: &std::io::Error) -> Failure {
    Failure::new(
        Exit::Other,
        "no-terminal",
        format!("the terminal can't be used: {error}"),
        "See `ahoy --help` for single commands.",
    )
}

/// Everything that is not the model.
struct Runtime<'a> {
    common: &'a Common,
    model: Model,
    screen: Screen,
    /// What tasks have to say, and where it arrives.
    news: mpsc::Sender<Told>,
    inbox: mpsc::Receiver<Told>,
    tasks: JoinSet<()>,
    /// The client at work.
    online: Option<(Arc<Client>, Events)>,
    /// What is written goes out in the order in which it was written.
    words: Option<mpsc::Sender<Effect>>,
    quits: bool,
    /// Why nothing goes on; said again when the terminal is given back.
    failure: Option<Failure>,
}

impl Runtime<'_> {
    async fn follow(mut self, interrupts: &mut Interrupts) -> Result<(), Failure> {
        let mut keys = keyboard();
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        while !self.quits {
            self.draw()?;
            tokio::select! {
                key = keys.recv() => match key {
                    Some(key) => self.take_key(key),
                    None => self.quits = true,
                },
                told = self.inbox.recv() => if let Some(told) = told {
                    self.take_told(told);
                },
                event = next_event(&mut self.online) => self.take_event(event),
                _ = ticks.tick() => self.take_tick(),
                () = interrupts.next() => self.quits = true,
            }
            // What waits already goes into the same picture.
            while let Ok(key) = keys.try_recv() {
                self.take_key(key);
            }
            while let Some(result) = self.tasks.try_join_next() {
                // A panic has ended the program; what was called off has nothing to say.
                drop(result);
            }
        }
        let failure = self.failure.take();
        self.close().await;
        failure.map_or(Ok(()), Err)
    }

    /// Hangs up and closes the session, with the terminal given back first: it may take a second.
    async fn close(self) {
        let Self { screen, mut tasks, online, words, .. } = self;
        drop(screen);
        drop(words);
        tasks.shutdown().await;
        if let Some(client) = online.and_then(|(client, _)| Arc::into_inner(client)) {
            client.close().await;
        }
    }

    fn draw(&mut self) -> Result<(), Failure> {
        let mut drawn = Drawn::default();
        let model = &self.model;
        self.screen.draw(|frame| drawn = view(model, frame)).map_err(|error| no_screen(&error))?;
        self.take(Input::Drawn(drawn));
        Ok(())
    }

    fn take_key(&mut self, key: TerminalEvent) {
        match key {
            TerminalEvent::Key(key) => self.take(Input::Key(key)),
            TerminalEvent::Mouse(mouse) => self.take(Input::Mouse(mouse)),
            TerminalEvent::Paste(text) => self.take(Input::Pasted(text)),
            // The next picture has the new size.
            TerminalEvent::Resize(..) | TerminalEvent::FocusGained | TerminalEvent::FocusLost => {}
        }
    }

    fn take_tick(&mut self) {
        self.take(Input::Tick(Clock::here().now_ms));
        let Some(Call { stage: CallStage::Running { call, .. }, .. }) = self.model.call else { return };
        let now = self.online.as_ref().and_then(|(client, _)| client.statistics(call));
        if let Some(now) = now {
            let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
            self.take(Input::News(News::Figures(Figures {
                seconds: now.elapsed.as_secs(),
                loss: now.loss,
                delay_ms: ms(now.delay),
                round_trip_ms: ms(now.round_trip),
                said: now.level_said,
                heard: now.level_heard,
            })));
        }
    }

    fn take(&mut self, input: Input) {
        for effect in update(&mut self.model, input) {
            self.perform(effect);
        }
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Quit => self.quits = true,
            Effect::Bell => self.screen.ring(),
            Effect::Enter(entrance) => self.enter(*entrance),
            Effect::CodeKept => {
                if let Ok(Some(identity)) = place::who(self.common) {
                    self.connect(identity);
                }
            }
            effect if effects::is_written(&effect) => {
                let full = self.words.as_ref().is_some_and(|words| words.try_send(effect).is_err());
                if full {
                    let text = "too much is waiting to be written".to_owned();
                    self.take(Input::News(News::Failed { text, advice: "Try again in a moment.".to_owned() }));
                }
            }
            effect => {
                let Some((client, _)) = &self.online else { return };
                let (client, news) = (client.clone(), self.news.clone());
                if self.tasks.len() < TASKS {
                    self.tasks.spawn(async move {
                        for word in effects::perform(&client, effect).await {
                            // Nobody listens any more when the program ends.
                            let _ = news.send(Told::News(word)).await;
                        }
                    });
                }
            }
        }
    }

    /// Signs in or up, off the runtime: the authority is asked by calls that block.
    fn enter(&mut self, entrance: Entrance) {
        let common = Common { network: None, profile: self.common.profile.clone(), ..Common::clone(self.common) };
        let news = self.news.clone();
        self.tasks.spawn(async move {
            let entered = tokio::task::spawn_blocking(move || effects::enter(&common, &entrance)).await;
            let Ok(entered) = entered else { return };
            let told = entered.unwrap_or_else(|failure| Told::News(effects::failed(failure)));
            let _ = news.send(told).await;
        });
    }

    /// Starts the client, in the background.
    fn connect(&mut self, identity: Identity) {
        self.take(Input::News(News::Starting(format!("{} comes aboard …", identity.full_name()))));
        let folder = match place::folder(self.common) {
            Ok(folder) => folder,
            Err(failure) => return self.stop(failure),
        };
        let (news, options) = (self.news.clone(), online::options(self.common));
        self.tasks.spawn(async move {
            let started = async {
                let profile = tokio::task::spawn_blocking(move || Profile::open(&folder)).await;
                let profile =
                    profile.map_err(|_| Failure::new(Exit::Other, "profile", "the profile can't be opened", ""))??;
                let (client, events) = Client::start(profile, options).await?;
                let everything = effects::everything(&client).await?;
                Ok::<_, Failure>((client, events, everything))
            };
            let told = match started.await {
                Ok((client, events, everything)) => Told::Online { identity, client, events, everything },
                Err(failure) => Told::Stopped(failure),
            };
            let _ = news.send(told).await;
        });
    }

    fn take_told(&mut self, told: Told) {
        match told {
            Told::News(news) => self.take(Input::News(news)),
            Told::Entered(identity) => self.connect(identity),
            Told::Stopped(failure) => self.stop(failure),
            Told::Online { identity, client, events, everything } => {
                let round_trip_ms = client.online().round_trip.as_millis() as u64;
                let client = Arc::new(client);
                self.online = Some((client.clone(), events));
                self.words = Some(self.write_down(client));
                let me = Me {
                    account: identity.account,
                    name: identity.name.to_string(),
                    network: identity.network.name.clone(),
                };
                self.take(Input::News(News::Everything(everything)));
                self.take(Input::News(News::SignedIn { me, round_trip_ms }));
                self.perform(Effect::Activity { away: false });
            }
        }
    }

    /// The task that writes messages down, one after the other.
    fn write_down(&mut self, client: Arc<Client>) -> mpsc::Sender<Effect> {
        let (sender, mut words) = mpsc::channel(WORDS);
        let news = self.news.clone();
        self.tasks.spawn(async move {
            while let Some(effect) = words.recv().await {
                for word in effects::perform(&client, effect).await {
                    let _ = news.send(Told::News(word)).await;
                }
            }
        });
        sender
    }

    fn take_event(&mut self, event: Option<Event>) {
        match event {
            Some(Event::Stopped(error)) => {
                self.online = None;
                self.stop(error.into());
            }
            None => {
                self.online = None;
                self.stop(ClientError::Stopped.into());
            }
            Some(Event::Behind) => self.read_again(),
            Some(event) => {
                if let Some(news) = effects::news(event) {
                    self.take(Input::News(news));
                }
            }
        }
    }

    fn stop(&mut self, failure: Failure) {
        self.take(Input::News(News::Stopped(sentence(&failure))));
        self.failure = Some(failure);
    }

    /// Too much happened at once: everything is read anew.
    fn read_again(&mut self) {
        let Some((client, _)) = &self.online else { return };
        let (client, news) = (client.clone(), self.news.clone());
        self.tasks.spawn(async move {
            if let Ok(everything) = effects::everything(&client).await {
                let _ = news.send(Told::News(News::Everything(everything))).await;
            }
        });
    }
}

/// Never, while there is no client.
async fn next_event(online: &mut Option<(Arc<Client>, Events)>) -> Option<Event> {
    match online {
        Some((_, events)) => events.next().await,
        None => std::future::pending().await,
    }
}

/// A failure for a person, in one go.
fn sentence(failure: &Failure) -> String {
    let mut text = crate::text::clean_line(&failure.text);
    if let Some(first) = text.get(..1).map(str::to_uppercase) {
        text.replace_range(..1, &first);
    }
    if failure.advice.is_empty() { format!("{text}.") } else { format!("{text}. {}", failure.advice) }
}
