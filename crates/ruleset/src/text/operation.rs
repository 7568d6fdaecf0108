//! Operations as nft's commands.

use crate::{Comment, Name, Op, TableId};

/// See [`super::op`].
pub(super) fn line(table: &TableId, op: &Op) -> String {
    let command = |verb: &str, kind: &str, name: &Name| format!("{verb} {kind} {table} {name}");
    match op {
        Op::CreateTable => format!("add table {table}"),
        Op::CreateSet(name, set_type, comment) => {
            clauses(command("add", "set", name), super::set_type(*set_type), comment)
        }
        Op::DeleteSet(name) => command("delete", "set", name),
        Op::AddElements(name, set_type, elements) => list(
            command("add", "element", name),
            elements.iter().map(|one| super::element(*set_type, one)),
        ),
        Op::DeleteElements(name, set_type, elements) => list(
            command("delete", "element", name),
            elements.iter().map(|one| super::element(*set_type, one)),
        ),
        Op::CreateMap(name, family, comment) => {
            clauses(command("add", "map", name), vec![super::map_type(*family)], comment)
        }
        Op::DeleteMap(name) => command("delete", "map", name),
        Op::AddEntries(name, _, entries) => list(
            command("add", "element", name),
            entries.iter().map(|(address, chain)| super::entry(*address, chain)),
        ),
        Op::DeleteEntries(name, _, keys) => {
            list(command("delete", "element", name), keys.iter().map(ToString::to_string))
        }
        Op::CreateChain(name, base, comment) => {
            let hook = base.map(|base| base.to_string());
            clauses(command("add", "chain", name), hook.into_iter().collect(), comment)
        }
        Op::FlushChain(name) => command("flush", "chain", name),
        Op::DeleteChain(name) => command("delete", "chain", name),
        Op::AddRule(chain, rule) => {
            format!("{} {}", command("add", "rule", chain), super::rule(table.family, rule))
        }
    }
}

/// `command { clause; clause; }`, without braces when there are none.
fn clauses(command: String, mut clauses: Vec<String>, comment: &Option<Comment>) -> String {
    clauses.extend(comment.as_ref().map(super::comment));
    if clauses.is_empty() {
        return command;
    }
    format!("{command} {{ {}; }}", clauses.join("; "))
}

fn list(command: String, elements: impl Iterator<Item = String>) -> String {
    format!("{command} {{ {} }}", elements.collect::<Vec<_>>().join(", "))
}
