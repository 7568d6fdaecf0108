//! Many times for one thing, and what is printed of them.
//!
//! Others use this machine, too. They can only make a round slower, so the fastest third
//! of the rounds counts.

use std::time::Duration;

use anyhow::{Context, Result};
use nix::time::{ClockId, clock_gettime};

/// What something took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    pub wall: Duration,
    /// Of this thread, the kernel included.
    pub cpu: Duration,
}

impl std::ops::Add for Cost {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { wall: self.wall + other.wall, cpu: self.cpu + other.cpu }
    }
}

/// Does something, and measures it.
///
/// # Errors
/// Without a clock of the thread's CPU time (clock_gettime(2)).
pub fn measured<T>(work: impl FnOnce() -> T) -> Result<(T, Cost)> {
    let (start, cpu) = (std::time::Instant::now(), on_processor()?);
    let result = work();
    let (wall, cpu) = (start.elapsed(), on_processor()? - cpu);
    Ok((result, Cost { wall, cpu }))
}

/// How long this thread has been on a processor, the kernel's work for it included.
fn on_processor() -> Result<Duration> {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).context("ask for CPU time")?;
    Ok(time.into())
}

/// The fastest third of the rounds, at least one, the fastest first.
fn fastest(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_unstable_by(f64::total_cmp);
    values.truncate(values.len().div_ceil(3));
    values
}

/// The median of the fastest third. Zero without values.
pub fn typical(values: &[f64]) -> f64 {
    let fastest = fastest(values.to_vec());
    fastest.get(fastest.len() / 2).copied().unwrap_or_default()
}

/// `median (least-most)` of the fastest third, with this many digits. Empty without
/// values.
pub fn spread(values: &[f64], digits: usize) -> String {
    let fastest = fastest(values.to_vec());
    let (Some(least), Some(most)) = (fastest.first(), fastest.last()) else {
        return String::new();
    };
    let typical = typical(values);
    format!("{typical:.digits$} ({least:.digits$}-{most:.digits$})")
}

/// As [`spread`], of times, in milliseconds.
pub fn milliseconds(times: impl IntoIterator<Item = Duration>) -> String {
    let values: Vec<f64> = times.into_iter().map(|time| time.as_secs_f64() * 1e3).collect();
    let digits = if typical(&values) < 10.0 { 3 } else { 1 };
    spread(&values, digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_fastest_third_counts() {
        let values = [9.0, 1.0, 3.0, 2.0, 8.0, 7.0, 6.0];
        assert_eq!(typical(&values), 2.0);
        assert_eq!(spread(&values, 1), "2.0 (1.0-3.0)");
        assert_eq!(spread(&[4.0], 0), "4 (4-4)");
        assert_eq!(spread(&[], 0), "");
        assert_eq!(milliseconds([Duration::from_micros(1500)]), "1.500 (1.500-1.500)");
    }

    #[test]
    fn work_costs_cpu_time_and_sleep_does_not() {
        let pause = Duration::from_millis(30);
        let ((), cost) = measured(|| std::thread::sleep(pause)).unwrap();
        assert!(cost.wall >= pause && cost.cpu < pause, "{cost:?}");
        let ((), cost) = measured(|| {
            let start = std::time::Instant::now();
            while start.elapsed() < pause {}
        })
        .unwrap();
        assert!(cost.cpu > Duration::ZERO, "{cost:?}");
    }
}
