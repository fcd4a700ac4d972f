//! The flags, written into the tree before anything is checked.

use std::ops::Range;

use super::error::{Place, Problem};
use super::settings::Overrides;
use super::tree::{Entry, Kind, Node, dotted};

/// The name under which flags are shown.
const COMMAND_LINE: &str = "command line";

/// Writes all flags into the tree. `--set` first: the others say more exactly what is meant.
pub(super) fn apply(overrides: &Overrides, tree: &mut Node, problems: &mut Vec<Problem>) {
    if !matches!(tree.kind, Kind::Null | Kind::Map(_)) {
        return; // A file that is no map is refused when it is read.
    }
    for assignment in &overrides.set {
        if let Err(problem) = set(assignment, tree) {
            problems.push(problem);
        }
    }
    let mut flag = |flag: &str, value: &Option<String>, path: &[&str]| {
        if let Some(value) = value
            && let Err(problem) = assign(path, flag_value(flag, value), tree)
        {
            problems.push(problem);
        }
    };
    flag("--name", &overrides.name, &["name"]);
    flag("--brokers", &overrides.brokers, &["kafka", "brokers"]);
    flag("--to", &overrides.to, &["target", "url"]);
    topics(&overrides.topics, tree, problems);
}

fn flag_value(flag: &str, value: &str) -> Node {
    let whole = Place::whole(COMMAND_LINE, &format!("{flag} {value}"));
    let place = whole.at(flag.len() + 1..whole.span.end);
    Node { place, kind: Kind::Text(value.to_owned()), filled_in: false }
}

/// `--topic` names the topics of this run: those of the file that it does not name are left out, and those that the
/// file does not have take the defaults.
fn topics(names: &[String], tree: &mut Node, problems: &mut Vec<Problem>) {
    if names.is_empty() {
        return;
    }
    let mut chosen: Vec<Entry> = Vec::new();
    for name in names {
        if chosen.iter().any(|entry| entry.key == *name) {
            continue;
        }
        let flag = flag_value("--topic", name).place;
        let value = tree.get(&["topics", name.as_str()]).cloned();
        let place = tree.key_place(&["topics", name.as_str()]).unwrap_or_else(|| flag.clone());
        chosen.push(Entry { key: name.clone(), place, value: value.unwrap_or_else(|| Node::null(flag)) });
    }
    let node = Node { place: chosen[0].place.clone(), kind: Kind::Map(chosen), filled_in: false };
    if let Err(problem) = assign(&["topics"], node, tree) {
        problems.push(problem);
    }
}

/// `path=value`; the value is YAML.
fn set(assignment: &str, tree: &mut Node) -> Result<(), Problem> {
    const PREFIX: &str = "--set ";
    let whole = Place::whole(COMMAND_LINE, &format!("{PREFIX}{assignment}"));
    let place = |span: Range<usize>| whole.at(PREFIX.len() + span.start..PREFIX.len() + span.end);
    let (path, value_at) = parse_path(assignment).map_err(|(message, span)| {
        Problem::new(message)
            .help("write --set path=value, such as --set batch.rows=1000; a name that holds a dot stands in quotes: --set 'topics.\"my.topic\".table=t'")
            .at(Some(place(span)))
    })?;
    let value = Node::parse(&assignment[value_at..], &whole)?;
    let steps: Vec<_> = path.iter().map(|(step, span)| (step.as_str(), place(span.clone()))).collect();
    insert(&steps, value, tree)
}

type Step = (String, Range<usize>);

/// Takes `a."b.c".d=value` apart: the steps with their places, and where the value begins.
fn parse_path(assignment: &str) -> Result<(Vec<Step>, usize), (String, Range<usize>)> {
    let all = 0..assignment.len();
    let (mut steps, mut at) = (Vec::<Step>::new(), 0);
    loop {
        let rest = &assignment[at..];
        // librdkafka's names are full of dots: there the rest of the path is one name.
        let is_property = matches!(steps.as_slice(), [(kafka, _), (p, _)] if kafka == "kafka" && p == "properties");
        let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''));
        let (step, end) = match quote {
            Some(quote) => {
                let inner = &rest[1..];
                let end =
                    inner.find(quote).ok_or_else(|| (format!("--set has a {quote} without its end"), all.clone()))?;
                (&inner[..end], at + end + 2)
            }
            None => {
                let end = rest.find(|c| c == '=' || c == '.' && !is_property);
                let end = end.ok_or_else(|| ("--set has no `=`".to_owned(), all.clone()))?;
                (&rest[..end], at + end)
            }
        };
        if step.is_empty() {
            return Err(("--set has an empty name in its path".to_owned(), all));
        }
        steps.push((step.to_owned(), at..end));
        match assignment.as_bytes().get(end) {
            Some(b'=') => return Ok((steps, end + 1)),
            Some(b'.') => at = end + 1,
            Some(_) => return Err(("--set has a name that goes on behind its quotes".to_owned(), all)),
            None => return Err(("--set has no `=`".to_owned(), all)),
        }
    }
}

fn assign(path: &[&str], value: Node, tree: &mut Node) -> Result<(), Problem> {
    let steps: Vec<_> = path.iter().map(|step| (*step, value.place.clone())).collect();
    insert(&steps, value, tree)
}

fn insert(steps: &[(&str, Place)], value: Node, tree: &mut Node) -> Result<(), Problem> {
    let mut node = tree;
    for (depth, (step, place)) in steps.iter().enumerate() {
        if matches!(node.kind, Kind::Null) {
            node.kind = Kind::Map(Vec::new());
        }
        let kind = node.kind.name();
        let Kind::Map(entries) = &mut node.kind else {
            let path: Vec<_> = steps[..depth].iter().map(|(step, _)| *step).collect();
            let message = format!("`{}` is {kind} and has no `{step}`", dotted(&path));
            return Err(Problem::new(message).at(Some(place.clone())));
        };
        let index = entries.iter().position(|entry| entry.key == *step).unwrap_or_else(|| {
            entries.push(Entry { key: (*step).to_owned(), place: place.clone(), value: Node::null(place.clone()) });
            entries.len() - 1
        });
        if depth + 1 == steps.len() {
            entries[index].place = place.clone();
        }
        node = &mut entries[index].value;
    }
    *node = value;
    Ok(())
}
