//! Marks: figures that a run has to reach, each said with what it reached.

/// One mark and what became of it.
pub(crate) struct Mark {
    kept: bool,
    line: String,
}

pub(crate) fn at_least(what: &str, value: f64, mark: f64) -> Mark {
    Mark { kept: value >= mark, line: format!("{what}: {value:.2}, at least {mark}") }
}

pub(crate) fn at_most(what: &str, value: f64, mark: f64) -> Mark {
    Mark { kept: value <= mark, line: format!("{what}: {value:.2}, at most {mark}") }
}

/// Prints a line for each; whether none is missed.
pub(crate) fn all_kept(marks: &[Mark]) -> bool {
    for Mark { kept, line } in marks {
        eprintln!("{} {line}", if *kept { "met   " } else { "missed" });
    }
    marks.iter().all(|mark| mark.kept)
}
