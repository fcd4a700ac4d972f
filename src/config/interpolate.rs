//! `${env:NAME}`, `${env:NAME:-default}` and `${file:/path}` in values.

use std::ffi::OsString;

use super::error::Problem;
use super::template::by_record;
use super::tree::{Kind, Node, dotted};

/// Finds an environment variable.
pub(super) type Environment<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// Fills in all values. What cannot be filled in is reported and left without a value.
pub(super) fn interpolate(tree: &mut Node, environment: Environment<'_>, problems: &mut Vec<Problem>) {
    tree.walk(&mut Vec::new(), &mut |path, node| {
        let Kind::Text(text) = &node.kind else { return };
        if !text.contains("${") {
            return;
        }
        match fill_in(text, path, node, environment) {
            Ok((text, filled_in)) => (node.kind, node.filled_in) = (Kind::Text(text), filled_in),
            Err(problem) => {
                problems.push(problem);
                node.kind = Kind::Null;
            }
        }
    });
}

/// The text with its templates filled in, and whether any was.
fn fill_in(text: &str, path: &[String], node: &Node, environment: Environment<'_>) -> Result<(String, bool), Problem> {
    let is_table = matches!(path, [topics, _, table] if topics == "topics" && table == "table");
    let is_url = matches!(path, [of, url, ..] if matches!(of.as_str(), "target" | "registry") && url == "url");
    let (mut out, mut filled_in) = (String::new(), false);
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let template = &rest[at..];
        // `$${` stands for `${`.
        if let Some(before) = rest[..at].strip_suffix('$') {
            out.push_str(before);
            // A table's own templates are filled in later, and told apart from this then.
            out.push_str(if is_table { "$${" } else { "${" });
            rest = &template[2..];
            continue;
        }
        out.push_str(&rest[..at]);
        let end = template.find('}').ok_or_else(|| {
            Problem::new(format!("`{}` has a `${{` without its `}}`", dotted(path)))
                .help("write `$${` for a `${` that stands for itself")
                .at(Some(node.place.clone()))
        })?;
        let template = &template[..=end];
        rest = &rest[at + end + 1..];
        let inner = &template[2..end];
        let is_group = inner.bytes().all(|b| b.is_ascii_digit());
        if is_table && (inner == "topic" || is_group || by_record(inner).is_some()) {
            // Filled in for each topic or record, when the name has been taken apart: they may hold dots.
            out.push_str(template);
            continue;
        }
        let problem = |problem: Problem| problem.at(Some(node.place.find(template)));
        let value = look_up(inner, template, path, environment).map_err(problem)?;
        match is_url && in_user_and_password(rest) {
            true => percent_encode(&value, &mut out),
            false => out.push_str(&value),
        }
        filled_in = true;
    }
    out.push_str(rest);
    Ok((out, filled_in))
}

fn look_up(inner: &str, template: &str, path: &[String], environment: Environment<'_>) -> Result<String, Problem> {
    let key = dotted(path);
    if let Some(variable) = inner.strip_prefix("env:") {
        let (name, default) = match variable.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (variable, None),
        };
        return match (environment(name).map(OsString::into_string), default) {
            (Some(Ok(value)), default) if !value.is_empty() || default.is_none() => Ok(value),
            (Some(Err(_)), _) => {
                Err(Problem::new(format!("the environment variable `{name}` for `{key}` is not valid UTF-8")))
            }
            (_, Some(default)) => Ok(default.to_owned()),
            (_, None) => Err(Problem::new(format!("the environment variable `{name}` for `{key}` is not set"))
                .label("not set")
                .help(format!("set it, or write ${{env:{name}:-default}}"))),
        };
    }
    if let Some(file) = inner.strip_prefix("file:") {
        let mut text = std::fs::read_to_string(file).map_err(|error| {
            Problem::new(format!("the file `{file}` for `{key}` cannot be read: {error}")).label("cannot be read")
        })?;
        text.truncate(text.trim_end_matches(['\n', '\r']).len());
        return Ok(text);
    }
    Err(Problem::new(format!("`{template}` in `{key}` is no template")).help(
        "write `${env:NAME}`, `${env:NAME:-default}` or `${file:/path}`, and `$${` for a `${` that stands for itself",
    ))
}

/// Whether an `@` follows before the host of a URL ends.
fn in_user_and_password(rest: &str) -> bool {
    let mut depth = 0usize;
    for c in rest.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            '@' if depth == 0 => return true,
            '/' | '?' | '#' if depth == 0 => return false,
            _ => {}
        }
    }
    false
}

/// A password may hold what has a meaning in a URL.
fn percent_encode(value: &str, out: &mut String) {
    for byte in value.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
}
