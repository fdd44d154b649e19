//! What a client can do in conversations: make and change them, write, read.

use ahoy_proto::{AccountId, ConversationId, Name};

use super::order::View;
use super::people::done;
use super::{Client, ClientError};
use crate::member::{Answer, Kind, MemberOf, MessageRef, Reaction, Summary};
use crate::profile::{Line, Position};

/// A conversation, for a list of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conversation {
    /// With whom, and how far it is read.
    pub summary: Summary,
    /// Texts of others that this account has not read.
    pub unread: u64,
    /// What was said last.
    pub last: Option<Line>,
}

/// What is to be said. A text is as good: `"hello".into()`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// Plain text, at most 16 KiB.
    pub text: String,
    /// The message that it answers.
    pub reply_to: Option<MessageRef>,
}

impl<T: Into<String>> From<T> for Draft {
    fn from(text: T) -> Self {
        Self { text: text.into(), reply_to: None }
    }
}

/// A message that stands in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// Names it.
    pub reference: MessageRef,
    /// Its place.
    pub sequence: u64,
}

/// How far somebody has received and read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// Whose.
    pub account: AccountId,
    /// Received up to this sequence number; 0: not told.
    pub delivered: u64,
    /// Read up to this sequence number; 0: not told.
    pub read: u64,
}

impl Client {
    /// All conversations, the one in which something was said last first. Known from the profile also while there is no session;
    /// [`Event::Conversation`](super::Event::Conversation) and [`Event::History`](super::Event::History) tell what changes afterwards.
    ///
    /// # Errors
    /// When the profile can't be read, or the client has stopped.
    pub async fn conversations(&self) -> Result<Vec<Conversation>, ClientError> {
        self.look(conversations).await?
    }

    /// The one-to-one conversation with somebody, which is made if there is none.
    ///
    /// # Errors
    /// When nobody has this name; when it is no contact, who then has been asked to become one; or when there is none yet and no
    /// session.
    pub async fn conversation_with(&self, name: &Name) -> Result<ConversationId, ClientError> {
        let wanted = name.clone();
        if let Some(conversation) = self.look(move |view| pair_with(view, &wanted)).await? {
            return Ok(conversation);
        }
        let account = self.account_of(name).await?;
        let answer = self.order(move |member, ticket, now| member.open_pair(account, ticket, now)).await?;
        Ok(conversation(answer))
    }

    /// Makes a group, with this account as its owner, and invites others into it.
    ///
    /// # Errors
    /// When one of the names is nobody's (then there is no group), the title is empty or too long, or there is no session. When
    /// somebody can't be invited the group is there all the same, among [`conversations`](Self::conversations).
    pub async fn create_group(&self, title: &str, names: &[Name]) -> Result<ConversationId, ClientError> {
        let accounts = self.accounts_of(names).await?;
        let title = title.to_owned();
        let answer = self.order(move |member, ticket, now| member.create_group(&title, ticket, now)).await?;
        let conversation = conversation(answer);
        if !accounts.is_empty() {
            done(self.order(move |member, ticket, now| member.invite(conversation, accounts, ticket, now)).await?);
        }
        Ok(conversation)
    }

    /// Brings others into a group: every member may. They can read what is said from then on, and nothing of before.
    ///
    /// # Errors
    /// When one of the names is nobody's, the group gets too large, there is no such group, or there is no session.
    pub async fn invite(&self, conversation: ConversationId, names: &[Name]) -> Result<(), ClientError> {
        let accounts = self.accounts_of(names).await?;
        done(self.order(move |member, ticket, now| member.invite(conversation, accounts, ticket, now)).await?);
        Ok(())
    }

    /// Takes somebody out of a group. Only its owner may.
    ///
    /// # Errors
    /// When they are not in it, this account is not the owner, there is no such group, or there is no session.
    pub async fn remove_member(&self, conversation: ConversationId, name: &Name) -> Result<(), ClientError> {
        let members = self.members(conversation).await?;
        let named = |member: &&MemberOf| member.person.as_ref().is_some_and(|person| person.name == *name);
        let account = match members.iter().find(named) {
            Some(member) => member.account,
            None => self.account_of(name).await?,
        };
        done(self.order(move |member, ticket, now| member.remove_member(conversation, account, ticket, now)).await?);
        Ok(())
    }

    /// Leaves a group, with all devices of this account. What was said in it stays in this profile.
    ///
    /// # Errors
    /// When there is no such group, or no session.
    pub async fn leave(&self, conversation: ConversationId) -> Result<(), ClientError> {
        done(self.order(move |member, ticket, now| member.leave(conversation, ticket, now)).await?);
        Ok(())
    }

    /// Gives a group a title; waits until all can see it.
    ///
    /// # Errors
    /// When the title is empty or too long, or there is no such group.
    pub async fn rename(&self, conversation: ConversationId, title: &str) -> Result<Sent, ClientError> {
        let title = title.to_owned();
        let answer =
            self.order(move |member, ticket, now| member.rename(conversation, &title, ticket, now).map(|_| ())).await?;
        Ok(sent(answer))
    }

    /// Who is in a conversation, longest standing first; empty if there is no such conversation.
    ///
    /// # Errors
    /// When the client has stopped.
    pub async fn members(&self, conversation: ConversationId) -> Result<Vec<MemberOf>, ClientError> {
        self.look(move |view| view.member.members(conversation)).await
    }

    /// Writes a message and waits until it stands in the log: then the others get it, whatever happens here. While there is no session
    /// that takes as long; who does not want to wait uses [`post`](Self::post). Whoever stops waiting has not taken the message back.
    ///
    /// # Errors
    /// When the text is empty or too long, there is no such conversation, or it can't be written to.
    pub async fn send(&self, conversation: ConversationId, draft: impl Into<Draft>) -> Result<Sent, ClientError> {
        let Draft { text, reply_to } = draft.into();
        let answer = self
            .order(move |member, ticket, now| member.send(conversation, &text, reply_to, Some(ticket), now).map(|_| ()))
            .await?;
        Ok(sent(answer))
    }

    /// Writes a message; returns once it is durable in this profile. It leaves as soon as there is a session, now or in a later life of
    /// this program, exactly once. [`Event::History`](super::Event::History) tells when it is placed, or given up.
    ///
    /// # Errors
    /// When the text is empty or too long, there is no such conversation, or too much is waiting in it.
    pub async fn post(&self, conversation: ConversationId, draft: impl Into<Draft>) -> Result<MessageRef, ClientError> {
        let Draft { text, reply_to } = draft.into();
        Ok(self.act(move |member, now| member.send(conversation, &text, reply_to, None, now)).await??)
    }

    /// Replaces the text of a message of this account; durable and on its way as with [`post`](Self::post).
    ///
    /// # Errors
    /// As [`post`](Self::post).
    pub async fn edit(&self, conversation: ConversationId, message: MessageRef, text: &str) -> Result<(), ClientError> {
        let text = text.to_owned();
        self.act(move |member, now| member.edit(conversation, message, &text, None, now)).await??;
        Ok(())
    }

    /// Takes a message of this account back: its text is erased here and with everybody who plays by the rules.
    ///
    /// # Errors
    /// As [`post`](Self::post).
    pub async fn delete(&self, conversation: ConversationId, message: MessageRef) -> Result<(), ClientError> {
        self.act(move |member, now| member.delete(conversation, message, None, now)).await??;
        Ok(())
    }

    /// Sets a reaction, one emoji, on a message, or takes it back.
    ///
    /// # Errors
    /// As [`post`](Self::post).
    pub async fn react(
        &self,
        conversation: ConversationId,
        message: MessageRef,
        emoji: &str,
        set: bool,
    ) -> Result<(), ClientError> {
        let emoji = emoji.to_owned();
        self.act(move |member, now| {
            let reaction = if set { Reaction::Set(&emoji) } else { Reaction::TakeBack(&emoji) };
            member.react(conversation, message, reaction, None, now)
        })
        .await??;
        Ok(())
    }

    /// Says that somebody types, or no longer; to be said again every 5 s while it lasts. Without a session it goes nowhere.
    ///
    /// # Errors
    /// When there is no such conversation.
    pub async fn typing(&self, conversation: ConversationId, typing: bool) -> Result<(), ClientError> {
        Ok(self.act(move |member, now| member.typing(conversation, typing, now)).await??)
    }

    /// Says that the owner of this device has read up to a sequence number; his other devices learn it too.
    ///
    /// # Errors
    /// When there is no such conversation.
    pub async fn mark_read(&self, conversation: ConversationId, sequence: u64) -> Result<(), ClientError> {
        Ok(self.act(move |member, now| member.mark_read(conversation, sequence, now)).await??)
    }

    /// How far the others in a conversation have received and read, as far as they tell; the furthest of each one's devices.
    ///
    /// # Errors
    /// When the client has stopped.
    pub async fn receipts(&self, conversation: ConversationId) -> Result<Vec<Receipt>, ClientError> {
        let receipts = self.look(move |view| view.member.receipts(conversation)).await?;
        let receipt = |(account, delivered, read)| Receipt { account, delivered, read };
        Ok(receipts.into_iter().map(receipt).collect())
    }

    /// What was said in a conversation before a position, or last; the newest line first, at most
    /// [`LINES_MAX`](crate::profile::LINES_MAX).
    ///
    /// # Errors
    /// When the profile can't be read, or the client has stopped.
    pub async fn history(
        &self,
        conversation: ConversationId,
        before: Option<Position>,
        limit: usize,
    ) -> Result<Vec<Line>, ClientError> {
        Ok(self.look(move |view| view.state.page(conversation, before, limit)).await??)
    }

    /// Lines of all conversations that have changed after the change of this number, in the order of their last change; at most
    /// [`LINES_MAX`](crate::profile::LINES_MAX). A program that keeps the [`local`](Line::local) of the last line that it has dealt with, and asks for
    /// the lines after it at each start and each [`Event::Behind`](super::Event::Behind), misses nothing and sees nothing twice.
    /// [`arrived`](Line::arrived) tells a line that is there for the first time from one that comes again, changed.
    ///
    /// # Errors
    /// When the profile can't be read, or the client has stopped.
    pub async fn lines_after(&self, local: u64, limit: usize) -> Result<Vec<(ConversationId, Line)>, ClientError> {
        Ok(self.look(move |view| view.state.changed_after(local, limit)).await??)
    }

    /// The number of the last change of the history: where a program begins that wants [`lines_after`](Self::lines_after) its first start
    /// only.
    ///
    /// # Errors
    /// When the client has stopped.
    pub async fn last_change(&self) -> Result<u64, ClientError> {
        self.look(|view| view.state.last_change()).await
    }

    /// One line; `None` if it is not known here.
    ///
    /// # Errors
    /// When the profile can't be read, or the client has stopped.
    pub async fn line(&self, conversation: ConversationId, message: MessageRef) -> Result<Option<Line>, ClientError> {
        Ok(self.look(move |view| view.state.line(conversation, message)).await??)
    }

    async fn accounts_of(&self, names: &[Name]) -> Result<Vec<AccountId>, ClientError> {
        let mut accounts = Vec::with_capacity(names.len());
        for name in names {
            accounts.push(self.account_of(name).await?);
        }
        accounts.sort_unstable();
        accounts.dedup();
        Ok(accounts)
    }
}

fn conversations(view: &View<'_>) -> Result<Vec<Conversation>, ClientError> {
    let mut conversations = Vec::new();
    for summary in view.member.conversations() {
        let unread = view.state.unread(summary.conversation, summary.read)?;
        let last = view.state.last(summary.conversation)?;
        conversations.push(Conversation { summary, unread, last });
    }
    conversations.sort_by_key(|entry| std::cmp::Reverse(entry.last.as_ref().map(|line| line.message.at_ms)));
    Ok(conversations)
}

fn pair_with(view: &View<'_>, name: &Name) -> Option<ConversationId> {
    let account = view.member.contact(name)?.person.account;
    let with = |summary: &Summary| matches!(&summary.kind, Kind::Pair(other, _) if *other == account);
    view.member.conversations().into_iter().find(with).map(|summary| summary.conversation)
}

/// Of a command that is answered by a conversation.
fn conversation(answer: Answer) -> ConversationId {
    match answer {
        Answer::Conversation(conversation) => conversation,
        other => unreachable!("it is answered by a conversation, not by {other:?}"),
    }
}

/// Of a command that is answered by a message's place.
fn sent(answer: Answer) -> Sent {
    match answer {
        Answer::Sent { reference, sequence } => Sent { reference, sequence },
        other => unreachable!("a message is answered by its place, not by {other:?}"),
    }
}
