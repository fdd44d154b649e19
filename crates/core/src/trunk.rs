//! Messages between shards of different supernodes, as they stand on the wire.
//!
//! `decode` undoes `encode`, but for what the receiver knows by itself: links without a supernode are the sender's, and whoever
//! asks for a flow is the sender. A link of a supernode that the receiver does not know leads nowhere.

use ahoy_proto::flow::FlowId;
use ahoy_proto::v1::trunk_message::Body;
use ahoy_proto::v1::{trunk_ask, trunk_devices, trunk_presences, trunk_reached};
use ahoy_proto::{AccountId, CallId, ConversationId, DeviceId, LegId, Name, SupernodeId, frame, limits, v1};
use bytes::Bytes;

use crate::peer::{Devices, JoinCall, NewCall, Party, Peer, Reach};
use crate::presence::Page;
use crate::{CallWelcome, Day, Fleet, LinkId, Node, Question, Recipient, Seat, ShardId};

/// Framed, for a shard of another supernode.
pub(crate) fn encode(message: Peer, from: ShardId, to: Seat, hops: u32, fleet: &Fleet) -> Bytes {
    let body = Some(Encoder(fleet).body(message));
    let (from_shard, to_shard) = (from.0.into(), to.shard.0.into());
    frame::encode(&v1::TrunkMessage { from_shard, to_shard, hops, body })
}

/// What a shard of another supernode says; `None` when a field is missing or out of range.
pub(crate) fn decode(from: Node, message: v1::TrunkMessage, fleet: &Fleet) -> Option<Peer> {
    let shard = ShardId(u16::try_from(message.from_shard).ok()?);
    Decoder { from: Seat { node: from, shard }, fleet }.peer(message.body?)
}

struct Encoder<'a>(&'a Fleet);

impl Encoder<'_> {
    fn body(&self, message: Peer) -> Body {
        match message {
            Peer::SignedIn { party, at_ms } => Body::SignedIn(v1::TrunkSignedIn { party: self.party(party), at_ms }),
            Peer::SignedOut { party } => Body::SignedOut(v1::TrunkSignedOut { party: self.party(party) }),
            Peer::Notify { account, devices, message } => notify(vec![account], devices, message),
            Peer::NotifyAll { accounts, devices, message } => notify(accounts, devices, message),
            Peer::AskAtHome { party, request, question } => Body::AskAtHome(self.ask(party, request, *question, 0)),
            Peer::AskNames { party, request, question, cost } => {
                Body::AskNames(self.ask(party, request, *question, cost))
            }
            Peer::SetActivity { party, request, away } => {
                Body::SetActivity(v1::TrunkSetActivity { party: self.party(party), request, away })
            }
            Peer::SettingsChanged { party, request, change } => {
                Body::SettingsChanged(v1::TrunkSettings { party: self.party(party), request, change: Some(*change) })
            }
            Peer::Listed { party, request, response, page } => Body::Listed(v1::TrunkListed {
                party: self.party(party),
                request,
                response,
                after: page.after.map(AccountId::to_bytes).unwrap_or_default(),
                last: page.last.map(AccountId::to_bytes).unwrap_or_default(),
                serial: page.serial,
                settings: page.settings,
                accepted: ids(page.accepted),
            }),
            Peer::Presence { from, to, event, wish } => Body::Presence(v1::TrunkPresence {
                from: from.to_bytes(),
                to: ids(to),
                event: event.unwrap_or_default(),
                wish: wish.and_then(which),
            }),
            Peer::Presences { to, devices, told } => {
                let told = told.into_iter().map(|(account, event)| {
                    let account = account.to_bytes();
                    trunk_presences::Told { account, event }
                });
                let (to, devices) = (to.to_bytes(), which(devices));
                Body::Presences(v1::TrunkPresences { to, devices, told: told.collect() })
            }
            Peer::MarkSeen { account } => Body::MarkSeen(account.to_bytes()),
            Peer::ContactChanged { account, devices, change } => Body::ContactChanged(v1::TrunkContactChanged {
                account: account.to_bytes(),
                devices: which(devices),
                change: Some(*change),
            }),
            Peer::StartCall(new) => Body::StartCall(self.new_call(*new)),
            Peer::Reach { call, caller, callee, welcome } => Body::Reach(v1::TrunkReach {
                call: call.to_bytes(),
                caller: caller.to_bytes(),
                callee: callee.to_bytes(),
                welcome: to_wire(welcome).into(),
            }),
            Peer::Answered { call, account, peer } => {
                let (call, account, peer) = (call.to_bytes(), account.to_bytes(), peer.to_bytes());
                Body::Answered(v1::TrunkEngagement { call, account, peer })
            }
            Peer::Disengage { call, account } => {
                let (call, account) = (call.to_bytes(), account.to_bytes());
                Body::Disengage(v1::TrunkEngagement { call, account, peer: Bytes::new() })
            }
            message => self.of_call(message),
        }
    }

    fn of_call(&self, message: Peer) -> Body {
        let at_call = |call: CallId, party, request, cause: v1::Cause| v1::TrunkAtCall {
            call: call.to_bytes(),
            party: self.party(party),
            request,
            cause: cause.into(),
        };
        match message {
            Peer::NewCall(new) => Body::NewCall(self.new_call(*new)),
            Peer::Reached { call, reach } => {
                let nothing = v1::TrunkNothing {};
                let reach = match reach {
                    Reach::Busy => trunk_reached::Reach::Busy(nothing),
                    Reach::Requested => trunk_reached::Reach::Requested(nothing),
                    Reach::Unreachable => trunk_reached::Reach::Unreachable(nothing),
                    Reach::Ringing(devices) => {
                        let device = |(device, link): (DeviceId, Recipient)| v1::TrunkParty {
                            account: Bytes::new(),
                            device: device.to_bytes(),
                            link: Some(self.link(link)),
                        };
                        let devices = devices.into_iter().map(device).collect();
                        trunk_reached::Reach::Ringing(trunk_reached::Ringing { devices })
                    }
                };
                Body::Reached(v1::TrunkReached { call: call.to_bytes(), reach: Some(reach) })
            }
            Peer::DeviceUp { call, party } => Body::DeviceUp(at_call(call, party, 0, v1::Cause::Unspecified)),
            Peer::GiveWay { call } => Body::GiveWay(call.to_bytes()),
            Peer::Answer(join) => Body::Answer(self.join_call(*join, Bytes::new())),
            Peer::Decline { call, party, request, cause } => Body::Decline(at_call(call, party, request, cause)),
            Peer::HangUp { call, party, request, cause } => Body::HangUp(at_call(call, party, request, cause)),
            Peer::Attach(join, call_token) => Body::Attach(self.join_call(*join, call_token)),
            Peer::FlowOpened { call, device, link, flow } => {
                Body::FlowOpened(self.flow(Some((call, device)), link, flow, &[]))
            }
            Peer::LinkLost { call, device, link } => Body::LinkLost(self.flow(Some((call, device)), link, None, &[])),
            message => self.of_link(message),
        }
    }

    fn of_link(&self, message: Peer) -> Body {
        // Of the receiver: only its number counts.
        let there = |link| Recipient { node: Node::OWN, shard: ShardId(0), link };
        match message {
            Peer::Replaced { link } => Body::Replaced(link.0),
            Peer::Deliver { link, in_reply_to, message } => {
                Body::Deliver(v1::TrunkDeliver { link: link.0, in_reply_to, message })
            }
            Peer::OpenFlow { call, device, link, home: _ } => {
                Body::OpenFlow(self.flow(Some((call, device)), there(link), None, &[]))
            }
            Peer::SetPeers { flow, peers } => Body::SetPeers(self.flow(None, there(LinkId(0)), Some(flow), &peers)),
            Peer::CloseFlow { link, flow } => Body::CloseFlow(self.flow(None, there(link), Some(flow), &[])),
            Peer::LetGo { call, link } => {
                let call = call.to_bytes();
                Body::Resync(v1::TrunkFlow { call, ..self.flow(None, there(link), None, &[]) })
            }
            // All others have been dealt with above.
            _ => Body::GiveWay(Bytes::new()),
        }
    }

    fn ask(&self, party: Party, request: u64, question: Question, cost: usize) -> v1::TrunkAsk {
        let (question, today) = match question {
            Question::ListContacts { after, today, .. } => {
                let after = after.map(AccountId::to_bytes).unwrap_or_default();
                (Some(trunk_ask::Question::ListContacts(after)), today.0)
            }
            Question::ChangeSettings { change, .. } => (Some(trunk_ask::Question::ChangeSettings(change)), 0),
            Question::ListConversations { after, .. } => {
                let after = after.map(ConversationId::to_bytes).unwrap_or_default();
                (Some(trunk_ask::Question::ListConversations(after)), 0)
            }
            Question::FetchInbox { after, .. } => (Some(trunk_ask::Question::FetchInbox(after)), 0),
            Question::FindAccount { name } => (Some(trunk_ask::Question::FindAccount(name.into())), 0),
            Question::SearchDirectory { prefix } => (Some(trunk_ask::Question::SearchDirectory(prefix)), 0),
            // Nothing else is asked through a home.
            _ => (None, 0),
        };
        v1::TrunkAsk { party: self.party(party), request, cost: cost as u32, today, question }
    }

    fn new_call(&self, new: NewCall) -> v1::TrunkNewCall {
        v1::TrunkNewCall {
            call: new.call.to_bytes(),
            conversation: new.conversation.to_bytes(),
            caller: self.party(new.caller),
            request: new.request,
            leg: new.leg.to_bytes(),
            sealed: new.sealed,
            callee: new.callee.to_bytes(),
            welcome: to_wire(new.welcome).into(),
        }
    }

    fn join_call(&self, join: JoinCall, call_token: Bytes) -> v1::TrunkJoinCall {
        let JoinCall { call, party, request, leg, sealed } = join;
        let (call, party, leg) = (call.to_bytes(), self.party(party), leg.to_bytes());
        v1::TrunkJoinCall { call, party, request, leg, sealed, call_token }
    }

    fn flow(
        &self,
        of: Option<(CallId, DeviceId)>,
        link: Recipient,
        flow: Option<FlowId>,
        peers: &[Recipient],
    ) -> v1::TrunkFlow {
        let (call, device) = of.map(|(call, device)| (call.to_bytes(), device.to_bytes())).unwrap_or_default();
        let peers = peers.iter().map(|peer| self.link(*peer)).collect();
        v1::TrunkFlow { call, device, link: Some(self.link(link)), flow: flow.map(FlowId::number), peers }
    }

    fn party(&self, party: Party) -> Option<v1::TrunkParty> {
        let (account, device) = (party.account.to_bytes(), party.device.to_bytes());
        Some(v1::TrunkParty { account, device, link: Some(self.link(party.link)) })
    }

    fn link(&self, link: Recipient) -> v1::TrunkLink {
        let named = |node: Node| match self.0.node(node) {
            Some(node) => (node.supernode.to_bytes(), node.incarnation),
            // Gone: an id that no supernode has.
            None => (SupernodeId([0; 16]).to_bytes(), 0),
        };
        let (supernode, incarnation) = if link.node == Node::OWN { (Bytes::new(), 0) } else { named(link.node) };
        v1::TrunkLink { supernode, incarnation, shard: link.shard.0.into(), link: link.link.0 }
    }
}

fn notify(accounts: Vec<AccountId>, devices: Devices, message: Bytes) -> Body {
    Body::Notify(v1::TrunkNotify { accounts: ids(accounts), devices: which(devices), message })
}

fn ids(accounts: Vec<AccountId>) -> Vec<Bytes> {
    accounts.into_iter().map(AccountId::to_bytes).collect()
}

fn which(devices: Devices) -> Option<v1::TrunkDevices> {
    let which = match devices {
        Devices::All => trunk_devices::Which::All(v1::TrunkNothing {}),
        Devices::One(device) => trunk_devices::Which::One(device.to_bytes()),
        Devices::AllBut(device) => trunk_devices::Which::AllBut(device.to_bytes()),
    };
    Some(v1::TrunkDevices { which: Some(which) })
}

fn to_wire(welcome: CallWelcome) -> v1::TrunkWelcome {
    match welcome {
        CallWelcome::Rings => v1::TrunkWelcome::Rings,
        CallWelcome::BecomesRequest => v1::TrunkWelcome::BecomesRequest,
        CallWelcome::Unreachable => v1::TrunkWelcome::Unreachable,
    }
}

struct Decoder<'a> {
    from: Seat,
    fleet: &'a Fleet,
}

impl Decoder<'_> {
    fn peer(&self, body: Body) -> Option<Peer> {
        Some(match body {
            Body::SignedIn(signed_in) => self.signed_in(signed_in)?,
            Body::SignedOut(signed_out) => Peer::SignedOut { party: self.party(signed_out.party)? },
            Body::Notify(v1::TrunkNotify { accounts, devices, message }) => {
                let (mut accounts, devices) = (accounts_of(accounts)?, from_which(devices)?);
                match accounts.len() {
                    1 => Peer::Notify { account: accounts.remove(0), devices, message },
                    _ => Peer::NotifyAll { accounts, devices, message },
                }
            }
            Body::AskAtHome(ask) => {
                let (party, request, question) = self.ask(ask)?;
                Peer::AskAtHome { party, request, question }
            }
            Body::AskNames(ask) => {
                let cost = usize::try_from(ask.cost).ok().filter(|cost| *cost <= limits::NAMES_PER_HOUR)?;
                let (party, request, question) = self.ask(ask)?;
                Peer::AskNames { party, request, question, cost }
            }
            Body::SetActivity(v1::TrunkSetActivity { party, request, away }) => {
                Peer::SetActivity { party: self.party(party)?, request, away }
            }
            Body::SettingsChanged(v1::TrunkSettings { party, request, change }) => {
                Peer::SettingsChanged { party: self.party(party)?, request, change: Box::new(change?) }
            }
            Body::Listed(listed) => {
                let page = Page {
                    after: id_or_none(&listed.after)?,
                    last: id_or_none(&listed.last)?,
                    serial: listed.serial,
                    settings: listed.settings,
                    accepted: accounts_of(listed.accepted)?,
                };
                let in_order = page.accepted.is_sorted();
                let (party, request, response) = (self.party(listed.party)?, listed.request, listed.response);
                in_order.then(|| Peer::Listed { party, request, response, page: Box::new(page) })?
            }
            Body::Presence(v1::TrunkPresence { from, to, event, wish }) => {
                let event = Some(event).filter(|event| !event.is_empty());
                let wish = if wish.is_some() { Some(from_which(wish)?) } else { None };
                Peer::Presence { from: account(&from)?, to: accounts_of(to)?, event, wish }
            }
            Body::Presences(v1::TrunkPresences { to, devices, told }) => {
                let told = told.into_iter().map(|told| Some((account(&told.account)?, told.event)));
                Peer::Presences { to: account(&to)?, devices: from_which(devices)?, told: told.collect::<Option<_>>()? }
            }
            Body::MarkSeen(seen) => Peer::MarkSeen { account: account(&seen)? },
            Body::ContactChanged(v1::TrunkContactChanged { account: of, devices, change }) => Peer::ContactChanged {
                account: account(&of)?,
                devices: from_which(devices)?,
                change: Box::new(change?),
            },
            Body::StartCall(new) => Peer::StartCall(Box::new(self.new_call(new)?)),
            Body::Reach(reach) => Peer::Reach {
                call: call(&reach.call)?,
                caller: account(&reach.caller)?,
                callee: account(&reach.callee)?,
                welcome: from_wire(reach.welcome())?,
            },
            Body::Answered(v1::TrunkEngagement { call: id, account: of, peer }) => {
                Peer::Answered { call: call(&id)?, account: account(&of)?, peer: account(&peer)? }
            }
            Body::Disengage(v1::TrunkEngagement { call: id, account: of, .. }) => {
                Peer::Disengage { call: call(&id)?, account: account(&of)? }
            }
            body => return self.of_call(body),
        })
    }

    fn signed_in(&self, signed_in: v1::TrunkSignedIn) -> Option<Peer> {
        let party = self.party(signed_in.party)?;
        // Of a supernode that is not in view here: it speaks for its sessions itself when it is, and by then under its own name.
        let in_view = party.link.node != Node::NOWHERE;
        in_view.then_some(Peer::SignedIn { party, at_ms: signed_in.at_ms })
    }

    fn of_call(&self, body: Body) -> Option<Peer> {
        Some(match body {
            Body::NewCall(new) => Peer::NewCall(Box::new(self.new_call(new)?)),
            Body::Reached(v1::TrunkReached { call: id, reach }) => {
                let reach = match reach? {
                    trunk_reached::Reach::Busy(_) => Reach::Busy,
                    trunk_reached::Reach::Requested(_) => Reach::Requested,
                    trunk_reached::Reach::Unreachable(_) => Reach::Unreachable,
                    trunk_reached::Reach::Ringing(ringing) => {
                        if ringing.devices.len() > limits::DEVICES_MAX {
                            return None;
                        }
                        let device = |party: v1::TrunkParty| Some((device(&party.device)?, self.link(party.link)?));
                        Reach::Ringing(ringing.devices.into_iter().map(device).collect::<Option<_>>()?)
                    }
                };
                Peer::Reached { call: call(&id)?, reach }
            }
            Body::DeviceUp(at) => Peer::DeviceUp { call: call(&at.call)?, party: self.party(at.party)? },
            Body::GiveWay(id) => Peer::GiveWay { call: call(&id)? },
            Body::Answer(join) => Peer::Answer(Box::new(self.join_call(join)?.0)),
            Body::Decline(at) => {
                let (cause, request) = (at.cause(), at.request);
                Peer::Decline { call: call(&at.call)?, party: self.party(at.party)?, request, cause }
            }
            Body::HangUp(at) => {
                let (cause, request) = (at.cause(), at.request);
                Peer::HangUp { call: call(&at.call)?, party: self.party(at.party)?, request, cause }
            }
            Body::Attach(join) => {
                let (join, call_token) = self.join_call(join)?;
                Peer::Attach(Box::new(join), call_token)
            }
            Body::FlowOpened(flow) => Peer::FlowOpened {
                call: call(&flow.call)?,
                device: device(&flow.device)?,
                link: self.link(flow.link)?,
                flow: if flow.flow.is_some() { Some(flow_id(flow.flow)?) } else { None },
            },
            Body::LinkLost(flow) => {
                Peer::LinkLost { call: call(&flow.call)?, device: device(&flow.device)?, link: self.link(flow.link)? }
            }
            body => return self.of_link(body),
        })
    }

    fn of_link(&self, body: Body) -> Option<Peer> {
        Some(match body {
            Body::Replaced(link) => Peer::Replaced { link: LinkId(link) },
            Body::Deliver(v1::TrunkDeliver { link, in_reply_to, message }) => {
                Peer::Deliver { link: LinkId(link), in_reply_to, message }
            }
            Body::OpenFlow(flow) => Peer::OpenFlow {
                call: call(&flow.call)?,
                device: device(&flow.device)?,
                link: LinkId(flow.link?.link),
                home: self.from,
            },
            Body::SetPeers(flow) => {
                if flow.peers.len() > limits::LEGS_MAX {
                    return None;
                }
                let peers = flow.peers.into_iter().map(|peer| self.link(Some(peer))).collect::<Option<_>>()?;
                Peer::SetPeers { flow: flow_id(flow.flow)?, peers }
            }
            Body::CloseFlow(flow) => Peer::CloseFlow { flow: flow_id(flow.flow)?, link: LinkId(flow.link?.link) },
            Body::Resync(flow) => Peer::LetGo { call: call(&flow.call)?, link: LinkId(flow.link?.link) },
            // All others have been dealt with above.
            _ => return None,
        })
    }

    fn ask(&self, ask: v1::TrunkAsk) -> Option<(Party, u64, Box<Question>)> {
        let party = self.party(ask.party)?;
        let (account, device) = (party.account, party.device);
        let question = match ask.question? {
            trunk_ask::Question::ListContacts(after) => {
                Question::ListContacts { account, after: id_or_none(&after)?, today: Day(ask.today) }
            }
            trunk_ask::Question::ChangeSettings(change) => Question::ChangeSettings { account, change },
            trunk_ask::Question::ListConversations(after) => {
                Question::ListConversations { account, device, after: id_or_none(&after)? }
            }
            trunk_ask::Question::FetchInbox(after) => Question::FetchInbox { device, after },
            trunk_ask::Question::FindAccount(name) => Question::FindAccount { name: Name::parse(&name).ok()? },
            trunk_ask::Question::SearchDirectory(prefix) => Question::SearchDirectory { prefix },
        };
        Some((party, ask.request, Box::new(question)))
    }

    fn new_call(&self, new: v1::TrunkNewCall) -> Option<NewCall> {
        Some(NewCall {
            call: call(&new.call)?,
            conversation: ConversationId::try_from(&new.conversation[..]).ok()?,
            welcome: from_wire(new.welcome())?,
            caller: self.party(new.caller)?,
            request: new.request,
            leg: leg(&new.leg)?,
            sealed: new.sealed,
            callee: account(&new.callee)?,
        })
    }

    fn join_call(&self, join: v1::TrunkJoinCall) -> Option<(JoinCall, Bytes)> {
        let (call, party, leg) = (call(&join.call)?, self.party(join.party)?, leg(&join.leg)?);
        Some((JoinCall { call, party, request: join.request, leg, sealed: join.sealed }, join.call_token))
    }

    fn party(&self, party: Option<v1::TrunkParty>) -> Option<Party> {
        let party = party?;
        Some(Party { account: account(&party.account)?, device: device(&party.device)?, link: self.link(party.link)? })
    }

    fn link(&self, link: Option<v1::TrunkLink>) -> Option<Recipient> {
        let link = link?;
        let node = if link.supernode.is_empty() {
            self.from.node
        } else {
            let supernode = SupernodeId::try_from(&link.supernode[..]).ok()?;
            self.fleet.find(supernode, link.incarnation).unwrap_or(Node::NOWHERE)
        };
        Some(Recipient { node, shard: ShardId(u16::try_from(link.shard).ok()?), link: LinkId(link.link) })
    }
}

fn account(bytes: &[u8]) -> Option<AccountId> {
    AccountId::try_from(bytes).ok()
}

fn device(bytes: &[u8]) -> Option<DeviceId> {
    DeviceId::try_from(bytes).ok()
}

fn call(bytes: &[u8]) -> Option<CallId> {
    CallId::try_from(bytes).ok()
}

fn leg(bytes: &[u8]) -> Option<LegId> {
    LegId::try_from(bytes).ok()
}

fn flow_id(number: Option<u64>) -> Option<FlowId> {
    FlowId::new(number?)
}

/// Empty: none.
#[expect(clippy::option_option, reason = "the outer one is whether the field can be read")]
fn id_or_none<'a, Id: TryFrom<&'a [u8]>>(bytes: &'a [u8]) -> Option<Option<Id>> {
    if bytes.is_empty() { Some(None) } else { Id::try_from(bytes).ok().map(Some) }
}

fn accounts_of(accounts: Vec<Bytes>) -> Option<Vec<AccountId>> {
    accounts.iter().map(|id| account(id)).collect()
}

fn from_which(devices: Option<v1::TrunkDevices>) -> Option<Devices> {
    Some(match devices?.which? {
        trunk_devices::Which::All(_) => Devices::All,
        trunk_devices::Which::One(one) => Devices::One(device(&one)?),
        trunk_devices::Which::AllBut(but) => Devices::AllBut(device(&but)?),
    })
}

fn from_wire(welcome: v1::TrunkWelcome) -> Option<CallWelcome> {
    match welcome {
        v1::TrunkWelcome::Rings => Some(CallWelcome::Rings),
        v1::TrunkWelcome::BecomesRequest => Some(CallWelcome::BecomesRequest),
        v1::TrunkWelcome::Unreachable => Some(CallWelcome::Unreachable),
        v1::TrunkWelcome::Unspecified => None,
    }
}
