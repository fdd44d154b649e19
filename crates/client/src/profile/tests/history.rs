//! What is kept of a history is what a simple model in memory says.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// A device, so that targets are met.
const DEVICES: [AccountId; 3] = [OWN, OTHER, AccountId([8; 16])];

fn state(folder: &TempDir) -> State {
    Profile::open(folder.path()).unwrap().state(OWN).unwrap()
}

fn reference(account: AccountId, number: u64) -> MessageRef {
    MessageRef { device: DeviceId(account.0), number }
}

fn texts(lines: &[Line]) -> Vec<&str> {
    let text = |line: &'_ Line| match &line.message.body {
        MessageBody::Text { .. } => line.message.reference.number,
        _ => 0,
    };
    lines.iter().map(|line| ["none", "one", "two", "three", "four", "five"][text(line) as usize]).collect()
}

#[test]
fn pages_go_back_from_the_newest_line() {
    let folder = TempDir::new().unwrap();
    let mut state = state(&folder);
    // Out of order, as a gap that is filled later.
    let order = [3, 1, 2, 4].map(|number| Change::Put(text(OTHER, number, Some(number), "")));
    state.commit(&said(order)).unwrap();
    state.commit(&said([Change::Put(text(OWN, 5, None, ""))])).unwrap();
    let first = state.page(CONVERSATION, None, 2).unwrap();
    assert_eq!(texts(&first), ["five", "four"], "what is not in the log yet comes last");
    let second = state.page(CONVERSATION, Some(first[1].position), 2).unwrap();
    assert_eq!(texts(&second), ["three", "two"]);
    let third = state.page(CONVERSATION, Some(second[1].position), 2).unwrap();
    assert_eq!(texts(&third), ["one"]);
    assert_eq!(state.page(ConversationId([1; 16]), None, 2).unwrap(), []);
    assert_eq!(texts(&state.last(CONVERSATION).unwrap().into_iter().collect::<Vec<_>>()), ["five"]);
}

#[test]
fn what_was_given_up_stays_where_it_was() {
    let folder = TempDir::new().unwrap();
    let mut state = state(&folder);
    let failed = Change::Failed { reference: reference(OWN, 2) };
    state
        .commit(&said([Change::Put(text(OTHER, 1, Some(1), "")), Change::Put(text(OWN, 2, None, "")), failed]))
        .unwrap();
    state.commit(&said([Change::Put(text(OTHER, 3, Some(2), ""))])).unwrap();
    let page = state.page(CONVERSATION, None, 10).unwrap();
    assert_eq!(texts(&page), ["three", "two", "one"]);
    assert!(page[1].failed && page[1].message.sequence.is_none());
}

#[test]
fn an_application_that_keeps_a_number_misses_nothing_and_sees_nothing_twice() {
    let folder = TempDir::new().unwrap();
    let mut taken = 0;
    let mut seen = Vec::new();
    let mut state = state(&folder);
    for sequence in 1..=5 {
        state.commit(&said([Change::Put(text(OTHER, sequence, Some(sequence), ""))])).unwrap();
        if sequence % 2 == 0 {
            for (conversation, line) in state.changed_after(taken, 10).unwrap() {
                assert_eq!(conversation, CONVERSATION);
                seen.push(line.message.reference.number);
                taken = line.local;
            }
        }
    }
    seen.extend(state.changed_after(taken, 10).unwrap().iter().map(|(_, line)| line.message.reference.number));
    assert_eq!(seen, [1, 2, 3, 4, 5]);
}

#[test]
fn a_line_that_comes_again_is_told_from_one_that_is_new() {
    let folder = TempDir::new().unwrap();
    let mut state = state(&folder);
    state.commit(&said([Change::Put(text(OTHER, 1, Some(1), ""))])).unwrap();
    let dealt_with = state.last_change();
    let target = reference(OTHER, 1);
    let reaction = Change::Reacted { target, by: OWN, emoji: "x".to_owned(), set: true };
    state.commit(&said([Change::Put(text(OTHER, 2, Some(2), "")), reaction])).unwrap();
    let lines = state.changed_after(dealt_with, 10).unwrap();
    let is_new: Vec<_> =
        lines.iter().map(|(_, line)| (line.message.reference.number, line.arrived() > dealt_with)).collect();
    assert_eq!(is_new, [(2, true), (1, false)]);
}

#[test]
fn one_reference_is_one_line_and_the_first_stays() {
    let folder = TempDir::new().unwrap();
    let mut state = state(&folder);
    state.commit(&said([Change::Put(text(OTHER, 1, Some(1), "the first"))])).unwrap();
    let reaction = Change::Reacted { target: reference(OTHER, 1), by: OWN, emoji: "x".to_owned(), set: true };
    state.commit(&said([reaction])).unwrap();
    let first = state.page(CONVERSATION, None, 10).unwrap();
    let told = state.commit(&said([Change::Put(text(OTHER, 1, Some(2), "in its place"))])).unwrap();
    assert_eq!((told, state.page(CONVERSATION, None, 10).unwrap()), (vec![None], first));
}

#[test]
fn what_was_given_up_makes_way_for_what_its_number_is_given_to_again() {
    let folder = TempDir::new().unwrap();
    let mut state = state(&folder);
    let failed = || Change::Failed { reference: reference(OWN, 1) };
    state.commit(&said([Change::Put(text(OWN, 1, None, "lost")), failed()])).unwrap();
    for sequence in [None, Some(3)] {
        let again = text(OWN, 1, sequence, "again");
        state.commit(&said([Change::Put(again.clone())])).unwrap();
        let line = state.last(CONVERSATION).unwrap().unwrap();
        assert_eq!((line.message, line.failed), (again, false));
        state.commit(&said([failed()])).unwrap();
    }
}

#[test]
fn numbers_of_changes_are_not_used_again_after_everything_was_forgotten() {
    let folder = TempDir::new().unwrap();
    let mut state = state(&folder);
    let put = || Change::Put(text(OTHER, 1, Some(1), ""));
    assert_eq!(state.commit(&said([put(), Change::Forget])).unwrap(), [Some(1), Some(2)]);
    drop(state);
    let mut state = self::state(&folder);
    assert_eq!(state.commit(&said([put()])).unwrap(), [Some(3)]);
}

#[test]
fn a_deleted_text_is_gone_from_the_disk() {
    let folder = TempDir::new().unwrap();
    let mut state = state(&folder);
    state.commit(&said([Change::Put(text(OTHER, 1, Some(1), SECRET_TEXT))])).unwrap();
    let sealed = |state: &State| -> Vec<u8> {
        state.vault.connection.query_row("SELECT sealed FROM lines", [], |row| row.get(0)).unwrap()
    };
    let before = sealed(&state);
    state.commit(&said([Change::Deleted { target: reference(OTHER, 1), by: OTHER }])).unwrap();
    assert_ne!(sealed(&state), before);
    for file in ["state.db", "state.db-wal"] {
        let bytes = fs::read(folder.path().join(file)).unwrap();
        assert!(!bytes.windows(32).any(|window| window == &before[..32]), "the sealed text is still in {file}");
    }
}

#[test]
fn one_account_cannot_make_a_line_grow_without_end() {
    let folder = TempDir::new().unwrap();
    let mut state = state(&folder);
    state.commit(&said([Change::Put(text(OTHER, 1, Some(1), ""))])).unwrap();
    let react = |number: usize| Change::Reacted {
        target: reference(OTHER, 1),
        by: OTHER,
        emoji: format!("e{number}"),
        set: true,
    };
    state.commit(&said((0..100).map(react))).unwrap();
    assert_eq!(state.last(CONVERSATION).unwrap().unwrap().reactions.len(), REACTIONS_OF_ACCOUNT_MAX);
}

#[test]
fn a_sequence_number_that_a_supernode_makes_up_does_no_harm() {
    let folder = TempDir::new().unwrap();
    let mut state = state(&folder);
    let change = Change::Put(text(OTHER, 1, Some(u64::MAX), ""));
    state.commit(&said([change, Change::Put(text(OWN, 2, None, ""))])).unwrap();
    let page = state.page(CONVERSATION, None, 10).unwrap();
    assert_eq!(texts(&page), ["two", "one"]);
    assert_eq!(page[1].message.sequence, Some(u64::MAX));
    assert_eq!(state.unread(CONVERSATION, 0).unwrap(), 1);
    assert_eq!(state.unread(CONVERSATION, u64::MAX).unwrap(), 0);
    assert_eq!(state.changed_after(u64::MAX, 10).unwrap(), []);
}

/// What is expected of a line, found by walking over everything.
#[derive(Debug, Clone, PartialEq)]
struct Expected {
    message: Message,
    edited: bool,
    deleted: bool,
    failed: bool,
    reactions: Vec<(AccountId, String)>,
}

fn expect(lines: &mut Vec<Expected>, change: &Change) {
    let find = |lines: &mut Vec<Expected>, target: &MessageRef| {
        lines.iter().position(|line| line.message.reference == *target)
    };
    match change {
        Change::Put(message) => {
            let fresh =
                Expected { message: message.clone(), edited: false, deleted: false, failed: false, reactions: vec![] };
            match find(lines, &message.reference) {
                Some(at) if message.sequence.is_some() && !lines[at].failed => {}
                Some(at) => lines[at] = fresh,
                None => lines.push(fresh),
            }
        }
        Change::Placed { reference, sequence, at_ms } => {
            let Some(at) = find(lines, reference) else { return };
            lines[at].message.sequence = Some(*sequence);
            lines[at].message.at_ms = *at_ms;
            lines[at].failed = false;
        }
        Change::Failed { reference } => {
            let Some(at) = find(lines, reference) else { return };
            lines[at].failed |= lines[at].message.sequence.is_none();
        }
        Change::Edited { target, by, text, .. } => {
            let Some(at) = find(lines, target) else { return };
            let line = &mut lines[at];
            if line.deleted || line.message.account != *by {
                return;
            }
            if let MessageBody::Text { text: before, .. } = &mut line.message.body {
                *before = text.clone();
                line.edited = true;
            }
        }
        Change::Deleted { target, by } => {
            let Some(at) = find(lines, target) else { return };
            let line = &mut lines[at];
            if line.message.account == *by && matches!(line.message.body, MessageBody::Text { .. }) {
                line.message.body = MessageBody::Text { text: String::new(), reply_to: None };
                line.deleted = true;
                line.reactions.clear();
            }
        }
        Change::Reacted { target, by, emoji, set } => {
            let Some(at) = find(lines, target) else { return };
            let line = &mut lines[at];
            let reaction = (*by, emoji.clone());
            if !set {
                line.reactions.retain(|known| *known != reaction);
            } else if !line.deleted && !line.reactions.contains(&reaction) {
                line.reactions.push(reaction);
            }
        }
        Change::Forget => lines.clear(),
    }
}

fn any_reference() -> impl Strategy<Value = MessageRef> {
    (0..DEVICES.len(), 1..4_u64).prop_map(|(device, number)| reference(DEVICES[device], number))
}

fn any_account() -> impl Strategy<Value = AccountId> {
    (0..DEVICES.len()).prop_map(|at| DEVICES[at])
}

fn any_body() -> impl Strategy<Value = MessageBody> {
    prop_oneof![
        4 => ("[a-z]{0,5}", proptest::option::of(any_reference()))
            .prop_map(|(text, reply_to)| MessageBody::Text { text, reply_to }),
        1 => "[a-z]{0,5}".prop_map(|title| MessageBody::Renamed { title }),
        1 => Just(MessageBody::Gap),
    ]
}

fn any_change() -> impl Strategy<Value = Change> {
    let put = (any_reference(), any_account(), proptest::option::of(1..9_u64), any_body()).prop_map(
        |(reference, account, sequence, body)| Change::Put(Message { reference, account, sequence, at_ms: 1, body }),
    );
    prop_oneof![
        6 => put,
        2 => (any_reference(), 1..9_u64)
            .prop_map(|(reference, sequence)| Change::Placed { reference, sequence, at_ms: 2 }),
        1 => any_reference().prop_map(|reference| Change::Failed { reference }),
        3 => (any_reference(), any_account(), "[a-z]{0,5}")
            .prop_map(|(target, by, text)| Change::Edited { target, by, text, at_ms: 3 }),
        2 => (any_reference(), any_account()).prop_map(|(target, by)| Change::Deleted { target, by }),
        3 => (any_reference(), any_account(), "[xy]", any::<bool>())
            .prop_map(|(target, by, emoji, set)| Change::Reacted { target, by, emoji, set }),
        1 => Just(Change::Forget),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_changes_in_any_batches_leave_what_the_model_says(
        batches in vec(vec((any::<bool>(), any_change()), 1..6), 1..12),
        read in 0..9_u64,
    ) {
        let folder = TempDir::new().unwrap();
        let mut state = state(&folder);
        let conversations = [CONVERSATION, ConversationId([1; 16])];
        let mut expected = [vec![], vec![]];
        let (mut told, mut last) = (vec![], 0);
        for batch in batches {
            let history: Vec<_> = batch.iter().map(|(at, change)| (conversations[usize::from(*at)], change.clone())).collect();
            let numbers = state.commit(&Batch { pairs: vec![], history }).unwrap();
            for ((at, change), number) in batch.iter().zip(numbers) {
                let before = expected[usize::from(*at)].clone();
                expect(&mut expected[usize::from(*at)], change);
                prop_assert!(number.is_some() || before == expected[usize::from(*at)], "{change:?} was not told");
                told.extend(number);
            }
            last = state.last_change();
        }
        prop_assert!(told.is_sorted() && told.last().copied().unwrap_or(0) == last);
        drop(state);
        let state = self::state(&folder);
        prop_assert_eq!(state.last_change(), last);
        let mut numbers = vec![];
        for (conversation, expected) in conversations.into_iter().zip(&expected) {
            let mut page = state.page(conversation, None, LINES_MAX).unwrap();
            prop_assert!(page.is_sorted_by(|a, b| a.position > b.position));
            numbers.extend(page.iter().map(|line| line.local));
            for line in &page {
                let found = state.line(conversation, line.message.reference).unwrap();
                prop_assert_eq!(found.as_ref(), Some(line));
            }
            let unread = page.iter().filter(|line| {
                let behind = line.message.sequence.is_none_or(|sequence| sequence > read);
                let text = matches!(line.message.body, MessageBody::Text { .. });
                behind && text && !line.failed && !line.deleted && line.message.account != OWN
            });
            prop_assert_eq!(state.unread(conversation, read).unwrap(), unread.count() as u64);
            let kept = page.drain(..).map(|line| Expected {
                message: line.message, edited: line.edited, deleted: line.deleted, failed: line.failed,
                reactions: line.reactions,
            });
            let mut kept: Vec<_> = kept.collect();
            let mut expected = expected.clone();
            let key = |line: &Expected| line.message.reference;
            kept.sort_by_key(key);
            expected.sort_by_key(key);
            prop_assert_eq!(kept, expected);
        }
        numbers.sort_unstable();
        let changed: Vec<u64> = state.changed_after(0, LINES_MAX).unwrap().iter().map(|(_, line)| line.local).collect();
        prop_assert_eq!(changed, numbers);
    }
}
