//! Replays one seed: `cargo run -p ahoy-sim -- --seed S`.

use std::process::ExitCode;

use ahoy_sim::{Plan, World};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let seed = match &arguments[..] {
        [flag, seed] if flag == "--seed" => seed.parse().ok(),
        _ => None,
    };
    let Some(seed) = seed else {
        eprintln!("usage: ahoy-sim --seed NUMBER");
        return ExitCode::from(2);
    };
    let plan = Plan::of_seed(seed);
    println!("{plan:#?}");
    match World::run(plan) {
        Ok(summary) => {
            println!("{summary:#?}");
            ExitCode::SUCCESS
        }
        Err(broken) => {
            for line in &broken.chronicle {
                println!("{line}");
            }
            println!("{broken}");
            ExitCode::FAILURE
        }
    }
}
