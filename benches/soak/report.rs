//! What was seen and which promises were kept, told as it comes.

use std::time::Instant;

pub(crate) struct Report {
    name: String,
    began: Instant,
    kept: u32,
    broken: Vec<String>,
}

impl Report {
    pub(crate) fn new(name: &str) -> Self {
        println!("\n# {name}\n");
        Self { name: name.to_owned(), began: Instant::now(), kept: 0, broken: Vec::new() }
    }

    pub(crate) fn say(&self, line: &str) {
        let seconds = self.began.elapsed().as_secs();
        println!("{:>3}:{:02}  {line}", seconds / 60, seconds % 60);
    }

    /// A promise, with what was counted in it.
    pub(crate) fn promise(&mut self, kept: bool, what: &str) {
        println!("  {}  {what}", if kept { "kept  " } else { "BROKEN" });
        if kept {
            self.kept += 1;
        } else {
            self.broken.push(what.to_owned());
        }
    }

    /// The last line; how many promises were broken.
    pub(crate) fn end(self) -> usize {
        let minutes = self.began.elapsed().as_secs_f64() / 60.0;
        let broken = self.broken.len();
        println!("\n{}: {} promises kept, {broken} broken, {minutes:.1} minutes", self.name, self.kept);
        self.broken.iter().for_each(|what| println!("BROKEN: {what}"));
        broken
    }
}
