//! One table of everything that was measured, and the same as JSON.

use std::path::Path;

use serde_json::{Value, json};

/// What was measured, and what it should be at most.
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) figures: Figures,
    pub(crate) goal: f64,
}

pub(crate) enum Figures {
    /// µs per call, one figure of each server for each round.
    Ratio {
        ours: Vec<f64>,
        rival: Vec<f64>,
        /// Work that a call cannot do without, as far as it is not the rival's, measured by itself.
        unavoidable: f64,
    },
    /// Something else of ours, what it is to be seen beside, and the most that it has ever been.
    Plain { unit: &'static str, ours: Vec<f64>, other: Vec<f64>, peak: Option<f64> },
}

impl Row {
    /// What is to stay below the goal, in order of size: in a race each round's ratio to the rival and the unavoidable.
    fn measured(&self) -> Vec<f64> {
        match &self.figures {
            Figures::Ratio { ours, rival, unavoidable } => {
                sorted(ours.iter().zip(rival).map(|(ours, rival)| ours / (rival + unavoidable)).collect())
            }
            Figures::Plain { ours, .. } => sorted(ours.clone()),
        }
    }

    fn held(&self) -> bool {
        median(&self.measured()) <= self.goal
    }

    fn line(&self) -> String {
        let measured = self.measured();
        let (least, most) = (measured[0], measured[measured.len() - 1]);
        let [middle, least, most] = [median(&measured), least, most].map(|figure| format!("{figure:.2}"));
        let (ours, rival, unavoidable, unit) = match &self.figures {
            Figures::Ratio { ours, rival, unavoidable } => {
                let [ours, rival] = [ours, rival].map(|figures| median(&sorted(figures.clone())));
                (
                    format!("{ours:.1} µs"),
                    format!("{rival:.1} µs"),
                    format!("{unavoidable:.1} µs"),
                    String::new(),
                )
            }
            Figures::Plain { unit, other, peak, .. } => {
                let other = other.first().map(|_| format!("{:.1} {unit}", median(&sorted(other.clone()))));
                let peak = peak.map(|peak| format!("{peak:.1} {unit} at most"));
                (peak.unwrap_or_default(), other.unwrap_or_default(), String::new(), format!(" {unit}"))
            }
        };
        let held = if cfg!(debug_assertions) {
            ""
        } else if self.held() {
            "yes"
        } else {
            "**no**"
        };
        let (name, goal) = (&self.name, self.goal);
        format!(
            "| {name} | {ours} | {rival} | {unavoidable} | {middle}{unit} ({least} to {most}) | {goal:.2}{unit} | {held} |"
        )
    }

    fn json(&self) -> Value {
        let mut row = match &self.figures {
            Figures::Ratio { ours, rival, unavoidable } => {
                json!({"countersign_us": ours, "other_us": rival, "unavoidable_us": unavoidable, "unit": "ratio"})
            }
            Figures::Plain { unit, ours, other, peak } => {
                json!({"countersign": ours, "other": other, "peak": peak, "unit": unit})
            }
        };
        row["case"] = self.name.clone().into();
        row["measured"] = self.measured().into();
        row["median"] = median(&self.measured()).into();
        row["goal"] = self.goal.into();
        row["held"] = self.held().into();
        row
    }
}

/// Prints the table, and writes `file`.
pub(crate) fn report(rows: &[Row], file: &Path) {
    if cfg!(debug_assertions) {
        println!("A debug build: only that it runs means something.\n");
    }
    println!("| what | countersign | the other | unavoidable | median (least to most) | goal | held |");
    println!("|---|---|---|---|---|---|---|");
    rows.iter().for_each(|row| println!("{}", row.line()));
    let rows: Vec<Value> = rows.iter().map(Row::json).collect();
    let report = json!({"debug_build": cfg!(debug_assertions), "rows": rows});
    std::fs::write(file, serde_json::to_string_pretty(&report).unwrap()).unwrap();
}

pub(crate) fn sorted(mut figures: Vec<f64>) -> Vec<f64> {
    figures.sort_by(f64::total_cmp);
    figures
}

/// Of figures in order of size.
pub(crate) fn median(sorted: &[f64]) -> f64 {
    sorted[sorted.len() / 2]
}
