//! The SDK: everything that takes part in an Ahoy network and is not a server. A bot, a phone and the `ahoy` command differ in
//! what they do with it, not in how they talk.
//!
//! # A tour
//!
//! 1. An **account** is made with a name and a password, or opened from another device: [`account::sign_up`], [`account::sign_in`]. Both
//!    give an [`Identity`](profile::Identity): one device of one account on one network.
//! 2. A **profile** is the folder that keeps it, encrypted: [`Profile`](profile::Profile). One process uses it at a time.
//! 3. A **client** is that device at work: [`Client::start`](driver::Client::start) gives the [`Client`](driver::Client), which takes
//!    commands, and its [`Events`](driver::Events). It reconnects by itself.
//! 4. **Contacts, conversations and history** are read from the client at any moment, also without a session; events tell what changes
//!    afterwards. Messages are sealed end to end by MLS, calls by SFrame; neither the network's operator nor its machines can read them.
//!
//! ```no_run
//! use std::path::Path;
//!
//! use ahoy_client::account::{NewAccount, contact, sign_up};
//! use ahoy_client::driver::{Client, ClientOptions, Event};
//! use ahoy_client::profile::Profile;
//! use ahoy_client::voice::Speaker;
//! use ahoy_proto::Name;
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let profile = Profile::open(Path::new("alice.profile"))?;
//! if profile.identity()?.is_none() {
//!     // Talks to the authority, and blocks: in a program that does other things, on a thread of its own.
//!     let now = std::time::SystemTime::now().into();
//!     let network = contact(&"http://localhost:8080".parse()?, None, now)?.network;
//!     let name = Name::parse("alice")?;
//!     let new = NewAccount { name: &name, password: "correct horse".into(), invite: None, device_name: "laptop" };
//!     let signed_up = sign_up(&network, new, now)?;
//!     println!("write this down: {}", signed_up.recovery_code.to_text().as_str());
//!     profile.keep(&signed_up.identity)?;
//! }
//!
//! let (client, mut events) = Client::start(profile, ClientOptions::default()).await?;
//! let bob = Name::parse("bob")?;
//! client.request_contact(&bob, "Alice, from the lighthouse").await?;
//! while let Some(event) = events.next().await {
//!     match event {
//!         // Calls only come from contacts, unless the account's settings say otherwise.
//!         Event::Incoming { call, from, .. } => {
//!             println!("{} hears an echo", from.name);
//!             client.answer(call, Speaker::Echo).await?;
//!         }
//!         Event::Contact(contact) if contact.person.name == bob => {
//!             let conversation = client.conversation_with(&bob).await?;
//!             client.send(conversation, "hello").await?;
//!         }
//!         Event::History { conversation, .. } => {
//!             for line in client.history(conversation, None, 1).await? {
//!                 println!("{:?}", line.message.body);
//!             }
//!         }
//!         Event::Stopped(error) => return Err(error.into()),
//!         _ => {}
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Whole programs of under a hundred lines are in `examples`: a bot that echoes, one that answers calls, one that watches presence.
//!
//! # How it is made
//!
//! [`member`] decides everything and is pure: no socket, clock or thread. What drives it is behind the feature `driver`, on by default.
//! The feature `audio` adds microphone and loudspeaker, `keyring` keeps a profile's key in the desktop's keyring.

#[cfg(feature = "driver")]
pub mod account;
#[cfg(feature = "driver")]
pub mod audio;
#[cfg(feature = "driver")]
pub mod census;
#[cfg(feature = "driver")]
pub mod driver;
pub mod member;
mod mls;
#[cfg(feature = "driver")]
pub mod profile;
#[cfg(feature = "driver")]
pub mod voice;

/// Name and version of this program, as it introduces itself to authority and supernodes.
pub const AGENT: &str = concat!("ahoy/", env!("CARGO_PKG_VERSION"));
