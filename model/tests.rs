use std::time::Instant;

use stateright::{Checker, HasDiscoveries, Model};

use crate::mutant::{Mutant, Rules};
use crate::system::{Bounds, Faults, NOTHING_DOUBLED, NOTHING_LOST, System};

fn bounds(faults: Faults) -> Bounds {
    Bounds { processes: 2, partitions: 2, records: 2, units: 2, window: None, faults }
}

fn check(what: &str, bounds: Bounds, mutant: Option<Mutant>) -> Option<&'static str> {
    let began = Instant::now();
    let system = System { bounds, rules: Rules(mutant) };
    let finish = if mutant.is_some() { HasDiscoveries::AnyFailures } else { HasDiscoveries::All };
    let checker = system.checker().threads(2).finish_when(finish).spawn_bfs().join();
    let states = checker.unique_state_count();
    println!("{what} {mutant:?}: {states} states, depth {}, {:?}", checker.max_depth(), began.elapsed());
    for property in [NOTHING_DOUBLED, NOTHING_LOST] {
        if let Some(path) = checker.discovery(property) {
            println!("{property}: {:#?}", path.into_actions().iter().map(|a| format!("{a:?}")).collect::<Vec<_>>());
            return Some(property);
        }
    }
    None
}

#[test]
fn probe() {
    let n = Faults::default();
    for (what, f) in [
        ("nothing", n),
        ("rebalance", Faults { rebalances: 1, ..n }),
        ("crash", Faults { crashes: 1, ..n }),
        ("evict", Faults { evictions: 1, ..n }),
        ("lost", Faults { lost_answers: 1, ..n }),
        ("copies", Faults { copies: 1, ..n }),
        ("stops", Faults { stops: 1, ..n }),
        ("deletions", Faults { deletions: 1, ..n }),
        ("reb+crash", Faults { rebalances: 1, crashes: 1, ..n }),
    ] {
        assert_eq!(check(what, bounds(f), None), None);
    }
}
