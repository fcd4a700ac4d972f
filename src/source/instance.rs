//! What this process is called, also after a restart.

use std::fs::{File, OpenOptions};

/// Processes of one pipeline on one host for which there are names.
const SLOTS: usize = 1_000;

/// A name that no other running process of the pipeline has, and that this one has again when it is started anew.
#[derive(Debug)]
pub struct Instance {
    /// The name: `kafka.instance`, or the host's with the first number that is free there.
    pub name: String,
    /// Keeps the number taken for as long as the process runs, however it ends.
    _slot: Option<File>,
}

impl Instance {
    /// Takes a name: this one, where the configuration gives it one.
    #[must_use]
    pub fn take(pipeline: &str, given: Option<&str>) -> Self {
        if let Some(name) = given {
            return Self { name: name.to_owned(), _slot: None };
        }
        let host = host();
        let plain: String = pipeline.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        for slot in 0..SLOTS {
            let path = std::env::temp_dir().join(format!("rowfall-{plain}-{slot}.lock"));
            // A file that is another user's belongs to a process of that user's.
            let Ok(file) = OpenOptions::new().create(true).truncate(false).write(true).open(path) else { continue };
            if file.try_lock().is_ok() {
                return Self { name: format!("{host}-{slot}"), _slot: Some(file) };
            }
        }
        // Without a place for such files: the brokers end what is open when its time is over.
        Self { name: format!("{host}-{:08x}", rand::random::<u32>()), _slot: None }
    }
}

fn host() -> String {
    let known = std::fs::read_to_string("/proc/sys/kernel/hostname").ok().or_else(|| std::env::var("HOSTNAME").ok());
    known.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).unwrap_or_else(|| "host".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_have_different_names_and_a_free_one_is_taken_again() {
        let pipeline = format!("test-{:x}", rand::random::<u64>());
        let [one, two] = [(), ()].map(|()| Instance::take(&pipeline, None));
        assert!(one.name.ends_with("-0") && two.name.ends_with("-1"), "{one:?} {two:?}");
        let name = one.name.clone();
        drop(one);
        assert_eq!(Instance::take(&pipeline, None).name, name);
        assert_eq!(Instance::take(&pipeline, Some("a")).name, "a");
    }
}
