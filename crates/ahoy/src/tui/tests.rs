//! The terminal client without a terminal.
//!
//! `AHOY_GOLDEN=write cargo test -p ahoy tui` writes the pictures under `tests/screens` and in `docs` anew.

use std::fs;
use std::path::{Path, PathBuf};

use ahoy_client::member::{Change, ConversationStanding, Kind, Message, MessageBody, MessageRef, Summary};
use ahoy_proto::v1::Availability;
use ahoy_proto::{CallId, DeviceId, Name};
use proptest::prelude::*;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};

use super::example::{account, call, conversation, evening, running};
use super::form::{Form, FormKind};
use super::message::{Effect, Input, News};
use super::model::{CallStage, Drawn, Entry, Focus, Model, Reach, Stage, ToastKind};
use super::picture::svg;
use super::theme::Theme;
use super::update::update;
use super::view::view;

pub(super) fn draw(model: &mut Model, columns: u16, rows: u16) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
    let mut drawn = Drawn::default();
    terminal.draw(|frame| drawn = view(model, frame)).unwrap();
    update(model, Input::Drawn(drawn));
    terminal.backend().buffer().clone()
}

/// What is on the screen, as text; the second half of a wide letter is left out.
pub(super) fn text(buffer: &Buffer) -> String {
    let mut rows = String::new();
    for y in 0..buffer.area.height {
        let mut row = String::new();
        let mut x = 0;
        while x < buffer.area.width {
            let symbol = buffer[(x, y)].symbol();
            row.push_str(symbol);
            x += crate::text::width(symbol).max(1) as u16;
        }
        rows.push_str(row.trim_end());
        rows.push('\n');
    }
    rows
}

fn key(model: &mut Model, code: KeyCode) -> Vec<Effect> {
    update(model, Input::Key(KeyEvent::new(code, KeyModifiers::NONE)))
}

fn alt(model: &mut Model, letter: char) -> Vec<Effect> {
    update(model, Input::Key(KeyEvent::new(KeyCode::Char(letter), KeyModifiers::ALT)))
}

fn typed(model: &mut Model, text: &str) -> Vec<Effect> {
    text.chars().flat_map(|c| key(model, KeyCode::Char(c))).collect()
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Compares with a file of the repository, or writes it.
fn golden(path: &Path, shown: &str) {
    if std::env::var_os("AHOY_GOLDEN").is_some_and(|value| value == "write") {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, shown).unwrap();
    }
    let wanted = fs::read_to_string(path).unwrap_or_default();
    assert!(shown == wanted, "{} differs; if it should, write it anew:\n{shown}", path.display());
}

/// The screens that the tests hold and the documentation shows.
fn scenes() -> Vec<(&'static str, Model)> {
    let mut scenes = Vec::new();
    let mut welcome = Model::new(evening().clock, Theme::Dark);
    update(&mut welcome, Input::News(News::SignedOut { network: "http://localhost:8080".to_owned() }));
    scenes.push(("sign-in", welcome));
    scenes.push(("conversation", evening()));
    let mut group = evening();
    group.open = Entry::Conversation(conversation(1));
    group.focus = Focus::Lines;
    key(&mut group, KeyCode::Up);
    scenes.push(("group", group));
    let mut incoming = evening();
    incoming.call = Some(call(CallStage::Incoming { call: CallId([9; 16]) }));
    scenes.push(("incoming-call", incoming));
    let mut talking = evening();
    talking.call = Some(call(running()));
    scenes.push(("call", talking));
    for (name, letter) in [
        ("requests", 'r'),
        ("add", 'a'),
        ("menu", 'm'),
        ("help", '?'),
        ("presence", 'p'),
        ("settings", 's'),
        ("person", 'i'),
        ("new-group", 'g'),
    ] {
        let mut model = evening();
        alt(&mut model, letter);
        scenes.push((name, model));
    }
    let mut details = evening();
    details.open = Entry::Conversation(conversation(1));
    alt(&mut details, 'i');
    scenes.push(("group-details", details));
    let mut compare = evening();
    alt(&mut compare, 'v');
    let digits: Vec<String> = (0..12).map(|group| format!("{:05}", (group * 48_271 + 11) % 100_000)).collect();
    let (name, code) = (Name::parse("bob").unwrap(), Ok(digits.join(" ")));
    update(&mut compare, Input::News(News::Comparison { name, code }));
    scenes.push(("compare", compare));
    let mut confirm = evening();
    confirm.call = Some(call(running()));
    update(&mut confirm, Input::Key(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)));
    confirm.toast(ToastKind::Bad, "The connection was lost. Try again; `ahoy status` checks the way to the network.");
    scenes.push(("confirm", confirm));
    scenes
}

#[test]
fn screens_are_as_they_were() {
    for (name, mut model) in scenes() {
        for (columns, rows) in [(80, 24), (200, 60)] {
            let shown = text(&draw(&mut model, columns, rows));
            let file = format!("crates/ahoy/tests/screens/{name}-{columns}x{rows}.txt");
            golden(&repository().join(file), &shown);
        }
    }
}

#[test]
fn a_narrow_terminal_shows_list_and_conversation_in_turn() {
    for (name, focus) in [("narrow-list", Focus::People), ("narrow-conversation", Focus::Input)] {
        let mut model = evening();
        model.focus = focus;
        model.call = Some(call(running()));
        let shown = text(&draw(&mut model, 40, 14));
        golden(&repository().join(format!("crates/ahoy/tests/screens/{name}-40x14.txt")), &shown);
    }
}

#[test]
fn the_documentation_shows_the_screens_as_they_are() {
    let mut page = fs::read_to_string(repository().join("docs/terminal.md")).unwrap();
    for (name, mut model) in scenes() {
        let Some(start) = page.find(&format!("<!-- {name} -->\n")) else { continue };
        let start = start + page[start..].find('\n').unwrap() + 1;
        let end = start + page[start..].find("\n```\n").unwrap() + 5;
        page.replace_range(start..end, &format!("```text\n{}```\n", text(&draw(&mut model, 80, 24))));
    }
    golden(&repository().join("docs/terminal.md"), &page);
}

#[test]
fn the_pictures_show_the_client_on_dark_and_on_light() {
    for (name, theme, scene) in [("dark", Theme::Dark, "call"), ("light", Theme::Light, "group")] {
        let mut model = scenes().into_iter().find(|(name, _)| *name == scene).unwrap().1;
        model.theme = theme;
        let picture = svg(&draw(&mut model, 100, 30), theme);
        golden(&repository().join(format!("docs/pictures/terminal-{name}.svg")), &picture);
    }
}

#[test]
fn what_is_typed_is_sent_and_the_field_is_empty_again() {
    let mut model = evening();
    typed(&mut model, "yes?");
    let effects = key(&mut model, KeyCode::Enter);
    let to = Entry::Conversation(conversation(2));
    assert_eq!(effects, [Effect::Send { to, text: "yes?".to_owned(), reply_to: None }]);
    assert_eq!(key(&mut model, KeyCode::Enter), []);
}

#[test]
fn letters_are_text_where_one_writes_and_commands_where_one_does_not() {
    let mut model = evening();
    model.call = Some(call(CallStage::Incoming { call: CallId([9; 16]) }));
    assert!(!typed(&mut model, "yes").iter().any(|effect| matches!(effect, Effect::Answer { .. })));
    let answer = Effect::Answer { call: CallId([9; 16]), peer: Name::parse("bob").unwrap() };
    assert_eq!(alt(&mut model, 'y'), [answer]);
    model.focus = Focus::People;
    assert_eq!(typed(&mut model, "n"), [Effect::Decline(CallId([9; 16]))]);
    typed(&mut model, "?");
    assert!(matches!(model.forms[..], [Form { kind: FormKind::Help, .. }]));
}

#[test]
fn a_conversation_is_read_when_somebody_looks_at_it() {
    let mut model = evening();
    assert_eq!(model.unread(), 4);
    model.focus = Focus::People;
    model.open = Entry::Conversation(conversation(1));
    assert_eq!(key(&mut model, KeyCode::Up), []);
    model.open = Entry::Conversation(conversation(1));
    let effects = key(&mut model, KeyCode::Enter);
    assert_eq!(effects, [Effect::Read { conversation: conversation(1), up_to: 6 }]);
    assert_eq!(model.unread(), 1);
}

#[test]
fn a_reply_and_an_edit_name_their_message() {
    let mut model = evening();
    model.focus = Focus::Lines;
    key(&mut model, KeyCode::Up);
    let last = model.picked.unwrap();
    typed(&mut model, "e");
    assert_eq!(model.focus, Focus::Input);
    typed(&mut model, "!");
    let text = "Call me when you are home?!".to_owned();
    let conversation = conversation(2);
    assert_eq!(key(&mut model, KeyCode::Enter), [Effect::Edit { conversation, target: last, text }]);
    model.focus = Focus::Lines;
    typed(&mut model, "r");
    typed(&mut model, "now");
    let effects = key(&mut model, KeyCode::Enter);
    assert!(matches!(&effects[..], [Effect::Send { reply_to: Some(reference), .. }] if *reference == last));
}

#[test]
fn nobody_edits_what_another_said() {
    let mut model = evening();
    let talk = model.conversations.get_mut(&conversation(2)).unwrap();
    let theirs = MessageRef { device: DeviceId([1; 16]), number: 3 };
    let before = talk.line(theirs).unwrap().clone();
    let text = "never".to_owned();
    talk.apply(&Change::Edited { target: theirs, by: account(0), text, at_ms: 0 });
    talk.apply(&Change::Deleted { target: theirs, by: account(0) });
    assert_eq!(*talk.line(theirs).unwrap(), before);
    talk.apply(&Change::Deleted { target: theirs, by: account(1) });
    let text = "again".to_owned();
    talk.apply(&Change::Edited { target: theirs, by: account(1), text, at_ms: 0 });
    assert_eq!(model.line_text(model.talk().unwrap().line(theirs).unwrap()), "message deleted");
}

#[test]
fn a_message_moves_from_underway_to_read() {
    let mut model = evening();
    let reference = MessageRef { device: DeviceId([0; 16]), number: 77 };
    let body = MessageBody::Text { text: "x".to_owned(), reply_to: None };
    let message = Message { reference, account: account(0), sequence: None, at_ms: 0, body };
    let talk = model.conversations.get_mut(&conversation(2)).unwrap();
    talk.apply(&Change::Put(message));
    assert_eq!(talk.reach(talk.line(reference).unwrap()), Reach::Underway);
    talk.apply(&Change::Placed { reference, sequence: 7, at_ms: 1 });
    assert_eq!(talk.reach(talk.line(reference).unwrap()), Reach::Sent);
    talk.receipts.get_mut(&account(1)).unwrap().delivered = 7;
    assert_eq!(talk.reach(talk.line(reference).unwrap()), Reach::Delivered);
    talk.receipts.get_mut(&account(1)).unwrap().read = 7;
    assert_eq!(talk.reach(talk.line(reference).unwrap()), Reach::Read);
    talk.apply(&Change::Failed { reference });
    assert_eq!(talk.lines.back().unwrap().message.reference, reference);
}

#[test]
fn leaving_in_a_call_is_asked_about_once() {
    let mut model = evening();
    model.call = Some(call(running()));
    let control_c = || Input::Key(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL));
    assert_eq!(update(&mut model, control_c()), []);
    assert_eq!(update(&mut model, control_c()), [Effect::Quit]);
    model.call = None;
    model.forms.clear();
    assert_eq!(update(&mut model, control_c()), [Effect::Quit]);
}

#[test]
fn a_call_is_answered_and_ended_over_any_sheet() {
    let mut model = evening();
    model.call = Some(call(CallStage::Incoming { call: CallId([9; 16]) }));
    alt(&mut model, 'a');
    assert!(matches!(alt(&mut model, 'y')[..], [Effect::Answer { .. }]));
    model.call = Some(call(running()));
    assert_eq!(alt(&mut model, 'h'), [Effect::HangUp(CallId([9; 16]))]);
    assert_eq!(model.forms.len(), 1);
}

#[test]
fn what_cannot_be_undone_is_not_the_first_choice() {
    let mut model = evening();
    alt(&mut model, 'i');
    typed(&mut model, "x");
    assert!(matches!(model.forms.last().unwrap().kind, FormKind::Confirm { .. }));
    assert_eq!(key(&mut model, KeyCode::Enter), []);
    typed(&mut model, "x");
    key(&mut model, KeyCode::Up);
    assert_eq!(key(&mut model, KeyCode::Enter), [Effect::Remove(Name::parse("bob").unwrap())]);
}

#[test]
fn a_contact_is_asked_with_a_note() {
    let mut model = evening();
    alt(&mut model, 'a');
    typed(&mut model, "gu");
    assert_eq!(key(&mut model, KeyCode::Enter), []);
    typed(&mut model, "hello");
    assert_eq!(key(&mut model, KeyCode::Enter), []);
    assert!(model.toasts.back().unwrap().text.contains("name"), "two letters are no name");
    key(&mut model, KeyCode::Up);
    typed(&mut model, "s@example.org");
    key(&mut model, KeyCode::Down);
    let asked = key(&mut model, KeyCode::Enter);
    assert_eq!(asked, [Effect::Ask { name: Name::parse("gus").unwrap(), note: "hello".to_owned() }]);
    assert!(model.forms.is_empty());
}

#[test]
fn a_conversation_that_was_made_opens_whichever_word_comes_first() {
    let made = conversation(40);
    let summary = Summary {
        conversation: made,
        kind: Kind::Group { title: "Regatta".to_owned() },
        standing: ConversationStanding::Inside,
        members: 2,
        head: 1,
        read: 0,
    };
    let mut model = evening();
    update(&mut model, Input::News(News::Opened(made)));
    assert_eq!(model.open, Entry::Conversation(conversation(2)));
    update(&mut model, Input::News(News::Conversation(summary.clone())));
    assert_eq!((model.open, model.focus), (Entry::Conversation(made), Focus::Input));
    let mut model = evening();
    update(&mut model, Input::News(News::Conversation(summary)));
    update(&mut model, Input::News(News::Opened(made)));
    assert_eq!(model.open, Entry::Conversation(made));
}

#[test]
fn a_group_is_made_of_those_who_are_ticked() {
    let mut model = evening();
    alt(&mut model, 'g');
    typed(&mut model, "Regatta");
    key(&mut model, KeyCode::Down);
    key(&mut model, KeyCode::Char(' '));
    key(&mut model, KeyCode::Up);
    let made = key(&mut model, KeyCode::Enter);
    let names = vec![Name::parse("bob").unwrap()];
    assert_eq!(made, [Effect::CreateGroup { title: "Regatta".to_owned(), names }]);
}

#[test]
fn the_wheel_and_a_click_do_what_they_point_at() {
    let mut model = evening();
    draw(&mut model, 80, 12);
    let mouse = |kind, column, row| Input::Mouse(MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE });
    update(&mut model, mouse(MouseEventKind::ScrollUp, 60, 5));
    assert!(model.scrolled > 0);
    draw(&mut model, 80, 24);
    let picture = text(&draw(&mut model, 80, 24));
    let row = picture.lines().position(|line| line.contains("Crew of")).unwrap() as u16;
    update(&mut model, mouse(MouseEventKind::Down(MouseButton::Left), 5, row));
    assert_eq!(model.open, Entry::Conversation(conversation(1)));
    let row = draw(&mut model, 80, 24);
    let about = text(&row).lines().next().unwrap().find("i about").unwrap() as u16;
    update(&mut model, mouse(MouseEventKind::Down(MouseButton::Left), about, 0));
    assert!(matches!(model.forms.last().unwrap().kind, FormKind::Group(_)));
}

#[test]
fn older_lines_are_asked_for_at_the_top_and_only_once() {
    let mut model = evening();
    let talk = model.conversations.get_mut(&conversation(2)).unwrap();
    talk.older = super::model::Older::There;
    let first = talk.lines[0].message.reference;
    let mut terminal = Terminal::new(TestBackend::new(80, 60)).unwrap();
    let mut drawn = Drawn::default();
    terminal.draw(|frame| drawn = view(&model, frame)).unwrap();
    let effects = update(&mut model, Input::Drawn(drawn.clone()));
    assert_eq!(effects, [Effect::Older { conversation: conversation(2), before: first }]);
    assert_eq!(update(&mut model, Input::Drawn(drawn)), []);
}

#[test]
fn no_escape_sequence_of_a_peer_reaches_the_screen() {
    let mut model = evening();
    let evil = "\x1b]0;owned\x07\u{202e}txt.exe\x1b[2J".to_owned();
    let kind = Kind::Group { title: evil.clone() };
    let summary = Summary {
        conversation: conversation(1),
        kind,
        standing: ConversationStanding::Inside,
        members: 4,
        head: 9,
        read: 9,
    };
    update(&mut model, Input::News(News::Conversation(summary)));
    let reference = MessageRef { device: DeviceId([1; 16]), number: 50 };
    let body = MessageBody::Text { text: evil.clone(), reply_to: Some(reference) };
    let message = Message { reference, account: account(1), sequence: Some(50), at_ms: 0, body };
    update(&mut model, Input::News(News::History { conversation: conversation(1), change: Change::Put(message) }));
    let target = reference;
    let reacted = Change::Reacted { target, by: account(1), emoji: evil.clone(), set: true };
    update(&mut model, Input::News(News::History { conversation: conversation(1), change: reacted }));
    let mut contact = model.contacts[&account(1)].clone();
    contact.presence.mood.clone_from(&evil);
    contact.alias = Some(evil.clone());
    contact.note = Some(evil.clone());
    contact.state = ahoy_client::member::ContactState::Asks;
    update(&mut model, Input::News(News::Contact(contact)));
    update(&mut model, Input::News(News::Failed { text: evil.clone(), advice: evil }));
    model.open = Entry::Conversation(conversation(1));
    for letter in ['i', 'r'] {
        let shown = text(&draw(&mut model, 200, 60));
        assert!(shown.contains("txt.exe"));
        assert!(shown.chars().all(|c| c == '\n' || !c.is_control() && c != '\u{202e}'), "{shown:?}");
        alt(&mut model, letter);
    }
}

#[test]
fn a_failed_entrance_asks_again_with_what_was_typed() {
    let mut model = Model::new(evening().clock, Theme::Plain);
    update(&mut model, Input::News(News::SignedOut { network: "http://localhost:8080".to_owned() }));
    typed(&mut model, "alice");
    key(&mut model, KeyCode::Enter);
    typed(&mut model, "secret");
    let effects = key(&mut model, KeyCode::Enter);
    assert!(matches!(&effects[..], [Effect::Enter(entrance)] if entrance.name == "alice" && !entrance.is_new));
    assert!(!format!("{effects:?}").contains("secret"));
    update(&mut model, Input::News(News::Failed { text: "wrong password".to_owned(), advice: String::new() }));
    assert_eq!(model.stage, Stage::SignedOut);
    assert_eq!(model.forms[0].text(1), "alice");
    assert!(text(&draw(&mut model, 80, 24)).contains("Wrong password."));
}

#[test]
fn who_sits_here_no_more_is_away_until_the_next_key() {
    let mut model = evening();
    let later = model.clock.now_ms + 6 * 60_000;
    assert_eq!(update(&mut model, Input::Tick(later)), [Effect::Activity { away: true }]);
    assert_eq!(update(&mut model, Input::Tick(later + 1)), []);
    assert_eq!(key(&mut model, KeyCode::Left), [Effect::Activity { away: false }]);
    assert_eq!(model.settings.availability, Availability::Online);
}

/// Anything that can come from the terminal.
fn any_input() -> impl Strategy<Value = Input> {
    let letters =
        prop_oneof![any::<char>(), prop::sample::select("acdeghimnpqrsvxy+?1 \t".chars().collect::<Vec<_>>())];
    let codes = prop_oneof![
        4 => letters.prop_map(KeyCode::Char),
        4 => prop::sample::select(vec![
            KeyCode::Enter, KeyCode::Esc, KeyCode::Tab, KeyCode::BackTab, KeyCode::Up, KeyCode::Down, KeyCode::Left,
            KeyCode::Right, KeyCode::Home, KeyCode::End, KeyCode::PageUp, KeyCode::PageDown, KeyCode::Backspace,
            KeyCode::Delete, KeyCode::F(1),
        ]),
    ];
    let modifiers = prop::sample::select(vec![
        KeyModifiers::NONE,
        KeyModifiers::NONE,
        KeyModifiers::ALT,
        KeyModifiers::CONTROL,
        KeyModifiers::SHIFT,
    ]);
    let kinds = prop::sample::select(vec![
        MouseEventKind::Down(MouseButton::Left),
        MouseEventKind::Down(MouseButton::Right),
        MouseEventKind::ScrollUp,
        MouseEventKind::ScrollDown,
    ]);
    prop_oneof![
        6 => (codes, modifiers).prop_map(|(code, modifiers)| Input::Key(KeyEvent::new(code, modifiers))),
        3 => (kinds, 0u16..220, 0u16..70)
            .prop_map(|(kind, column, row)| Input::Mouse(MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE })),
        1 => any::<String>().prop_map(Input::Pasted),
        1 => any::<u64>().prop_map(|at| Input::Tick(at / 2)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn nothing_that_is_pressed_at_any_size_panics(
        steps in prop::collection::vec((any_input(), 0u16..120, 0u16..50), 1..60),
        scene in 0usize..16,
    ) {
        let (_, mut model) = scenes().swap_remove(scene % scenes().len());
        for (input, columns, rows) in steps {
            update(&mut model, input);
            draw(&mut model, columns, rows);
            prop_assert!(model.forms.len() <= super::model::FORMS && model.toasts.len() <= super::model::TOASTS);
        }
    }
}
