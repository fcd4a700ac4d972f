//! Whether the goal can be reached from wherever the system may get to, with nothing more going wrong. Stateright knows
//! what holds always and what sometimes; this is neither.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use stateright::Model;

use crate::system::{State, System};

/// What was seen.
#[derive(Debug)]
pub struct Reach {
    /// States that there are.
    pub states: usize,
    /// One from which the goal cannot be reached.
    pub stuck: Option<Box<State>>,
}

/// Goes through all states; then back from those where all is done, over events that are not faults.
#[must_use]
pub fn reach(system: &System) -> Reach {
    let hasher = RandomState::new();
    let mut numbers: HashMap<u64, usize> = HashMap::new();
    let mut frontier = system.init_states();
    numbers.extend(frontier.iter().map(|state| hasher.hash_one(state)).zip(0..));
    let mut before: Vec<Vec<u32>> = vec![Vec::new(); numbers.len()];
    let mut good: Vec<usize> = Vec::new();
    let mut actions = Vec::new();
    let number = |state: &State| hasher.hash_one(state);
    while let Some(state) = frontier.pop() {
        let from = numbers[&number(&state)];
        if state.is_done() {
            good.push(from);
        }
        system.actions(&state, &mut actions);
        for action in actions.drain(..) {
            let is_fault = action.is_fault();
            let Some(next) = system.next_state(&state, action) else { continue };
            let count = numbers.len();
            let to = *numbers.entry(number(&next)).or_insert(count);
            if to == count {
                before.push(Vec::new());
                frontier.push(next);
            }
            if !is_fault {
                before[to].push(u32::try_from(from).expect("fewer states"));
            }
        }
    }
    let mut reaches = vec![false; before.len()];
    while let Some(state) = good.pop() {
        if !std::mem::replace(&mut reaches[state], true) {
            good.extend(before[state].iter().map(|from| *from as usize).filter(|from| !reaches[*from]));
        }
    }
    let stuck = (reaches.contains(&false)).then(|| Box::new(find(system, |state| !reaches[numbers[&number(state)]])));
    Reach { states: before.len(), stuck }
}

/// The first state, from the beginning on, of which this is true; there is one.
fn find(system: &System, is_it: impl Fn(&State) -> bool) -> State {
    let mut seen = std::collections::HashSet::new();
    let mut queue: std::collections::VecDeque<_> = system.init_states().into();
    loop {
        let state = queue.pop_front().expect("there is one");
        if is_it(&state) {
            return state;
        }
        queue.extend(system.next_states(&state).into_iter().filter(|next| seen.insert(next.clone())));
    }
}
