//! `petiole bench --compare OLD NEW`: did anything get worse?
//!
//! Two runs happened at two times, and a machine has better and worse days; so ratios within each run are compared, never
//! absolute figures. A measure changed significantly when old and new differ by more than twice their combined noise, and
//! by more than 3 %.

use std::fmt::Write;

use super::ratio::Ratio;
use super::record::{Better, Record, Run};
use super::servers::Server;

/// What became of one measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Significantly better.
    Better,
    /// Within the noise.
    Same,
    /// Significantly worse.
    Worse,
}

/// One measure in both runs.
#[derive(Debug, Clone, PartialEq)]
pub struct Measure {
    /// What is measured.
    pub what: String,
    /// The ratio then.
    pub old: Ratio,
    /// The ratio now.
    pub new: Ratio,
    /// Now / then.
    pub factor: f64,
    /// The noise of that factor, as a fraction.
    pub noise: f64,
    /// What that means.
    pub change: Change,
}

/// All measures that both runs have.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// Measure by measure.
    pub measures: Vec<Measure>,
    /// Why not to trust it.
    pub warnings: Vec<String>,
}

/// Differences below this are never significant.
const SMALLEST: f64 = 0.03;

impl Comparison {
    /// Compares what both have.
    pub fn of(old: &Record, new: &Record) -> Comparison {
        let mut warnings = Vec::new();
        if (&old.machine.processor, old.machine.cores)
            != (&new.machine.processor, new.machine.cores)
        {
            warnings.push("the runs are from different machines".to_owned());
        }
        if !(old.optimised && new.optimised) {
            warnings.push("a debug build is among them".to_owned());
        }
        let mut measures = Vec::new();
        for run in &new.runs {
            let before = old.runs.iter().find(|before| {
                before.workload == run.workload
                    && before.connections == run.connections
                    && before.rtt_ms == run.rtt_ms
            });
            let Some(before) = before else { continue };
            let older = ratios(before);
            for (what, better, now) in ratios(run) {
                let Some((_, _, then)) = older.iter().find(|(name, ..)| *name == what) else {
                    continue;
                };
                measures.extend(measure(
                    format!("{}: {what}", run.name()),
                    better,
                    *then,
                    now,
                ));
            }
        }
        Comparison { measures, warnings }
    }

    /// How many measures got significantly worse.
    pub fn worse(&self) -> usize {
        let worse = |measure: &&Measure| measure.change == Change::Worse;
        self.measures.iter().filter(worse).count()
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for warning in &self.warnings {
            let _ = writeln!(text, "NOTE: {warning}.");
        }
        let _ = writeln!(
            text,
            "  {:<64}{:>9}{:>9}{:>9}{:>8}",
            "", "old", "new", "new/old", "noise"
        );
        for measure in &self.measures {
            let word = match measure.change {
                Change::Better => "better",
                Change::Same => "same",
                Change::Worse => "WORSE",
            };
            let _ = writeln!(
                text,
                "  {:<64}{:>9.3}{:>9.3}{:>9.3}{:>6.0} %  {word}",
                measure.what,
                measure.old.median,
                measure.new.median,
                measure.factor,
                measure.noise * 100.0
            );
        }
        if self.measures.is_empty() {
            text += "  nothing was measured in both\n";
        }
        text
    }
}

/// The ratios of one run: those that have a name, and each lane's throughput against mongod itself.
fn ratios(run: &Run) -> Vec<(String, Better, Ratio)> {
    let mut ratios: Vec<(String, Better, Ratio)> = run
        .verdicts
        .iter()
        .map(|verdict| (verdict.what.clone(), verdict.better, verdict.ratio))
        .collect();
    let direct = Server::Direct.label();
    let Some(direct) = run.lanes.iter().find(|lane| lane.name == direct) else {
        return ratios;
    };
    for lane in &run.lanes {
        let ours = lane.name.starts_with("petiole");
        if let Some(ratio) = lane.throughput_over(direct).filter(|_| ours) {
            ratios.push((
                format!("{}, throughput / {}", lane.name, direct.name),
                Better::Higher,
                ratio,
            ));
        }
    }
    ratios
}

fn measure(what: String, better: Better, old: Ratio, new: Ratio) -> Option<Measure> {
    if old.median <= 0.0 {
        return None;
    }
    let factor = new.median / old.median;
    let noise = old.noise.hypot(new.noise);
    // By logarithms: half and double are as far from the same.
    let significant = factor.ln().abs() > (2.0 * noise.ln_1p()).max(SMALLEST);
    let change = match (significant, better, factor > 1.0) {
        (false, ..) => Change::Same,
        (true, Better::Higher, true) | (true, Better::Lower, false) => Change::Better,
        (true, Better::Higher, false) | (true, Better::Lower, true) => Change::Worse,
    };
    Some(Measure {
        what,
        old,
        new,
        factor,
        noise,
        change,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ratio(median: f64, noise: f64) -> Ratio {
        Ratio {
            median,
            low: median,
            high: median,
            noise,
        }
    }

    fn change(better: Better, old: Ratio, new: Ratio) -> Change {
        measure(String::new(), better, old, new).unwrap().change
    }

    #[test]
    fn only_what_exceeds_its_noise_is_a_change() {
        let (quiet, loud) = (ratio(1.0, 0.01), ratio(1.0, 0.10));
        assert_eq!(
            change(Better::Higher, quiet, ratio(0.9, 0.01)),
            Change::Worse
        );
        assert_eq!(change(Better::Higher, loud, ratio(0.9, 0.01)), Change::Same);
        assert_eq!(
            change(Better::Higher, quiet, ratio(0.98, 0.0)),
            Change::Same
        );
        assert_eq!(
            change(Better::Higher, quiet, ratio(1.1, 0.01)),
            Change::Better
        );
    }

    #[test]
    fn a_latency_that_grows_is_worse() {
        assert_eq!(
            change(Better::Lower, ratio(0.1, 0.0), ratio(0.2, 0.0)),
            Change::Worse
        );
        assert_eq!(
            change(Better::Lower, ratio(0.2, 0.0), ratio(0.1, 0.0)),
            Change::Better
        );
    }
}
