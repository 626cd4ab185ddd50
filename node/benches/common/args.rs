//! The flags every benchmark understands.

use std::time::Duration;

pub struct Args {
    /// How long each row is measured.
    pub measured: Duration,
    /// Before it, unmeasured.
    pub warm_up: Duration,
}

impl Args {
    /// `--seconds N` for each row (5), or `--quick` to see that everything works. Anything else ends the program.
    pub fn parse(about: &str) -> Self {
        let mut measured = Duration::from_secs(5);
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            match word.as_str() {
                // What cargo tells every benchmark.
                "--bench" => {}
                "--quick" => measured = Duration::from_millis(500),
                "--seconds" => match words.next().and_then(|text| text.parse().ok()) {
                    Some(seconds @ 1..=600) => measured = Duration::from_secs(seconds),
                    _ => usage(about, "--seconds takes a whole number from 1 to 600"),
                },
                "--help" | "-h" => usage(about, ""),
                other => usage(about, &format!("`{other}` is not understood")),
            }
        }
        Self { measured, warm_up: (measured / 4).max(Duration::from_millis(250)) }
    }
}

fn usage(about: &str, problem: &str) -> ! {
    eprintln!(
        "{about}\n\n  --seconds N   measure each row for N seconds (5)\n  --quick       half a second each: only to see that it works"
    );
    if problem.is_empty() {
        std::process::exit(0);
    }
    eprintln!("\nerror: {problem}");
    std::process::exit(2);
}
