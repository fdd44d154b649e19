//! Repair: a sliding-window erasure code over frames, so that any packet that arrives helps with any frame that did not.
//!
//! A frame is two halves. Each payload carries a few *repairs*: sums over GF(2^8) of the halves of the frames in a window before it.
//! Whoever holds as many repairs as halves are missing solves for them, to the bit.
//!
//! Invariant: at most [`SPAN`] frames and as many payloads' repairs are held; what can't be true is dropped, not solved.

use std::collections::BTreeMap;

use crate::payload::{REPAIRS_MAX, Window};

/// Frames and payloads remembered: twice the widest window, so that what helps is still there when it counts.
const SPAN: i64 = 32;

/// Makes the repairs of the payload numbered `timestamp` over `frames`: number and bytes of each, all of one length.
pub(crate) fn make(timestamp: u16, frames: &[(u16, &[u8])], count: usize) -> Vec<Vec<u8>> {
    let length = half_length(frames.first().map_or(0, |(_, frame)| frame.len()));
    (0..count)
        .map(|place| {
            let mut sum = vec![0; length];
            for (number, frame) in frames {
                for half in 0..2 {
                    add_scaled(&mut sum, half_of(frame, half), coefficient(row(timestamp, place), *number, half));
                }
            }
            sum
        })
        .collect()
}

/// Length of each half of a frame of `length` bytes; the second is padded with a zero where that is odd.
pub(crate) const fn half_length(length: usize) -> usize {
    length.div_ceil(2)
}

/// Frames that came, repairs that came, and what follows from them.
#[derive(Debug, Default)]
pub(crate) struct Repairer {
    frames: BTreeMap<i64, Vec<u8>>,
    equations: BTreeMap<i64, Equations>,
}

/// The repairs of one payload.
#[derive(Debug)]
struct Equations {
    window: Window,
    frame_length: usize,
    repairs: Vec<Vec<u8>>,
}

impl Repairer {
    /// Takes one payload; gives the frames that it makes known besides its own: number and bytes.
    pub(crate) fn handle(
        &mut self,
        index: i64,
        primary: &[u8],
        window: Window,
        repairs: &[&[u8]],
    ) -> Vec<(i64, Vec<u8>)> {
        self.frames.insert(index, primary.to_vec());
        if !repairs.is_empty() {
            let repairs = repairs.iter().map(|repair| repair.to_vec()).collect();
            self.equations.insert(index, Equations { window, frame_length: primary.len(), repairs });
        }
        let newest = self.frames.last_key_value().map_or(index, |(&newest, _)| newest);
        self.frames.retain(|&held, _| held > newest - SPAN);
        self.equations.retain(|&held, _| held > newest - SPAN);
        let solved = self.solve(primary.len());
        for (number, frame) in &solved {
            self.frames.insert(*number, frame.clone());
        }
        solved
    }

    /// Forgets everything: another time begins.
    pub(crate) fn clear(&mut self) {
        self.frames.clear();
        self.equations.clear();
    }

    /// Gauss-Jordan over the missing halves of all windows held.
    fn solve(&self, frame_length: usize) -> Vec<(i64, Vec<u8>)> {
        let of_length = || self.equations.iter().filter(|(_, equations)| equations.frame_length == frame_length);
        let mut missing: Vec<i64> = of_length()
            .flat_map(|(index, equations)| equations.window.frames(*index))
            .filter(|number| !self.frames.contains_key(number))
            .collect();
        missing.sort_unstable();
        missing.dedup();
        if missing.is_empty() || missing.len() > SPAN as usize {
            return Vec::new();
        }
        let mut rows: Vec<Row> =
            of_length().flat_map(|(index, equations)| self.rows(*index, equations, &missing)).collect();
        let pivots = reduce(&mut rows, missing.len() * 2);
        let half = |column: usize| -> Option<&[u8]> {
            let row = &rows[pivots[column]?];
            let alone = row.coefficients.iter().enumerate().all(|(other, &value)| other == column || value == 0);
            alone.then_some(row.sum.as_slice())
        };
        let frame = |place: usize| {
            let mut frame = [half(place * 2)?, half(place * 2 + 1)?].concat();
            frame.truncate(frame_length);
            Some((missing[place], frame))
        };
        (0..missing.len()).filter_map(frame).collect()
    }

    /// The equations of one payload with what is known moved to the right-hand side.
    fn rows(&self, index: i64, equations: &Equations, missing: &[i64]) -> Vec<Row> {
        let row_of = |(place, repair): (usize, &Vec<u8>)| {
            let mut coefficients = vec![0; missing.len() * 2];
            let mut sum = repair.clone();
            for number in equations.window.frames(index) {
                for half in 0..2 {
                    let factor = coefficient(row(index as u16, place), number as u16, half);
                    if let Some(frame) = self.frames.get(&number) {
                        if frame.len() != equations.frame_length {
                            return None;
                        }
                        add_scaled(&mut sum, half_of(frame, half), factor);
                    } else {
                        let place = missing.binary_search(&number).ok()?;
                        coefficients[place * 2 + half] = factor;
                    }
                }
            }
            Some(Row { coefficients, sum })
        };
        equations.repairs.iter().enumerate().take(REPAIRS_MAX).filter_map(row_of).collect()
    }
}

/// A linear equation over halves.
#[derive(Debug, Clone)]
struct Row {
    coefficients: Vec<u8>,
    sum: Vec<u8>,
}

/// Brings `rows` to reduced echelon form; gives the row that leads each column.
fn reduce(rows: &mut [Row], columns: usize) -> Vec<Option<usize>> {
    let mut pivots = vec![None; columns];
    let mut done = 0;
    for (column, pivot) in pivots.iter_mut().enumerate() {
        let Some(found) = (done..rows.len()).find(|&at| rows[at].coefficients[column] != 0) else { continue };
        rows.swap(done, found);
        let scale = inverse(rows[done].coefficients[column]);
        for value in &mut rows[done].coefficients {
            *value = multiply(*value, scale);
        }
        for value in &mut rows[done].sum {
            *value = multiply(*value, scale);
        }
        let lead = rows[done].clone();
        for (at, row) in rows.iter_mut().enumerate() {
            let factor = row.coefficients[column];
            if at != done && factor != 0 {
                add_scaled(&mut row.coefficients, &lead.coefficients, factor);
                add_scaled(&mut row.sum, &lead.sum, factor);
            }
        }
        *pivot = Some(done);
        done += 1;
    }
    pivots
}

fn half_of(frame: &[u8], half: usize) -> &[u8] {
    let (first, second) = frame.split_at(half_length(frame.len()));
    if half == 0 { first } else { second }
}

fn row(timestamp: u16, place: usize) -> usize {
    usize::from(timestamp) * REPAIRS_MAX + place
}

/// The factor of a half of frame `number` in a repair: a power of the generator, so never 0, and rows differ within a window.
fn coefficient(row: usize, number: u16, half: usize) -> u8 {
    TABLES.0[(row % 255) * ((usize::from(number) * 2 + half) % 255) % 255]
}

fn add_scaled(sum: &mut [u8], term: &[u8], factor: u8) {
    for (sum, &term) in sum.iter_mut().zip(term) {
        *sum ^= multiply(term, factor);
    }
}

fn multiply(a: u8, b: u8) -> u8 {
    if a == 0 || b == 0 {
        return 0;
    }
    TABLES.0[(usize::from(TABLES.1[usize::from(a)]) + usize::from(TABLES.1[usize::from(b)])) % 255]
}

/// Of a value other than 0.
fn inverse(a: u8) -> u8 {
    TABLES.0[(255 - usize::from(TABLES.1[usize::from(a)])) % 255]
}

/// Powers of the generator 2 modulo x^8 + x^4 + x^3 + x^2 + 1, and their logarithms.
static TABLES: ([u8; 255], [u8; 256]) = tables();

const fn tables() -> ([u8; 255], [u8; 256]) {
    let (mut powers, mut logarithms) = ([0; 255], [0; 256]);
    let (mut value, mut exponent) = (1_u16, 0);
    while exponent < 255 {
        powers[exponent] = value as u8;
        logarithms[value as usize] = exponent as u8;
        value <<= 1;
        if value > 255 {
            value ^= 0x11d;
        }
        exponent += 1;
    }
    (powers, logarithms)
}
