//! The golden bytes in `vectors/voice.json` are what this crate makes of the same inputs, and it reads them back.

use serde_json::{Value, json};

use crate::payload::{PAYLOAD_BYTES, Payload, Report, Window};
use crate::repair::{Repairer, make};

/// Numbers that wrap in the midst, as timestamps do.
const FIRST: i64 = 65_530;
const FRAMES: i64 = 12;
const WINDOW: Window = Window { near: 1, far: 4 };

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap();
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

/// Stands for an Opus packet: repair takes any bytes.
fn frame(number: i64, length: usize) -> Vec<u8> {
    (0..length).map(|at| (number as usize * 31 + at * at * 7 + at) as u8).collect()
}

/// What a sender makes of frame `number` and those before it, since `FIRST`.
fn payload(number: i64, length: usize, count: usize, report: Option<Report>) -> Vec<u8> {
    let far = i64::from(WINDOW.far).min(number - FIRST);
    let earlier: Vec<(u16, Vec<u8>)> =
        (1..=far).map(|distance| ((number - distance) as u16, frame(number - distance, length))).collect();
    let earlier: Vec<(u16, &[u8])> = earlier.iter().map(|(number, frame)| (*number, frame.as_slice())).collect();
    let (window, count) = if far == 0 { (None, 0) } else { (Some(Window { far: far as u8, ..WINDOW }), count) };
    let repairs = make(number as u16, &earlier, count);
    let repairs = repairs.iter().map(Vec::as_slice).collect();
    Payload { timestamp: number as u16, primary: &frame(number, length), window, repairs, report }.to_bytes()
}

/// One stream: its frames, its payloads, which of them are lost, and which of the lost come back.
fn stream(length: usize, count: usize, lost: &[i64]) -> Value {
    let report = Report { expected: 250, lost: 50, runs: 40, jitter_ms: 35 };
    let numbers = || FIRST..FIRST + FRAMES;
    let payloads: Vec<_> = numbers().map(|n| payload(n, length, count, (n % 2 == 1).then_some(report))).collect();
    let mut repairer = Repairer::default();
    let mut repaired: Vec<Value> = Vec::new();
    for (number, bytes) in numbers().zip(&payloads).filter(|(number, _)| !lost.contains(&(number - FIRST))) {
        let payload = Payload::parse(bytes).unwrap();
        let window = payload.window.unwrap_or(WINDOW);
        for (found, bytes) in repairer.handle(number, payload.primary, window, &payload.repairs) {
            assert_eq!(bytes, frame(found, length));
            repaired.push(json!({ "by": number as u16, "timestamp": found as u16 }));
        }
    }
    json!({
        "frames": numbers().map(|number| hex(&frame(number, length))).collect::<Vec<_>>(),
        "payloads": payloads.iter().map(|bytes| hex(bytes)).collect::<Vec<_>>(),
        "lost": lost.iter().map(|at| (FIRST + at) as u16).collect::<Vec<_>>(),
        "repaired": repaired,
    })
}

#[test]
fn payloads_and_their_repairs_are_the_golden_ones() {
    let computed = json!({
        "first_timestamp": FIRST,
        "streams": [stream(63, 1, &[5]), stream(47, 2, &[3, 4]), stream(38, 3, &[4, 6, 7])],
    });
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../vectors/voice.json");
    if std::env::var_os("AHOY_WRITE_VECTORS").is_some() {
        std::fs::write(path, serde_json::to_string_pretty(&computed).unwrap() + "\n").unwrap();
    }
    let kept: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(kept, computed, "voice: the wire has changed");
    for stream in kept["streams"].as_array().unwrap() {
        assert_eq!(stream["lost"].as_array().unwrap().len(), stream["repaired"].as_array().unwrap().len());
        for (payload, frame) in stream["payloads"].as_array().unwrap().iter().zip(stream["frames"].as_array().unwrap())
        {
            let bytes = unhex(payload);
            assert_eq!(bytes.len(), PAYLOAD_BYTES);
            assert_eq!(Payload::parse(&bytes).unwrap().primary, unhex(frame));
        }
    }
}
