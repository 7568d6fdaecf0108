//! Operations as nft's commands.

use crate::{Comment, Element, Name, Op, SetType, TableId};

/// See [`super::op`].
pub(super) fn line(table: &TableId, op: &Op) -> String {
    let command = |verb: &str, kind: &str, name: &Name| match name.stored() {
        Some((store, _)) => format!("{verb} {kind} {table} {}", store.name()),
        None => format!("{verb} {kind} {table} {name}"),
    };
    let elements = |verb: &str, name: &Name, set_type: SetType, elements: &[Element]| {
        let tag = name.stored();
        let elements = elements.iter().map(|one| super::tagged(tag, super::element(set_type, one)));
        list(command(verb, "element", name), elements)
    };
    match op {
        Op::CreateTable => format!("add table {table}"),
        Op::CreateSet(name, ..) if name.stored().is_some() => format!("# add set {table} {name}"),
        Op::CreateSet(name, set_type, comment) => {
            clauses(command("add", "set", name), super::set_type(*set_type), comment)
        }
        Op::DeleteSet(name) if name.stored().is_some() => format!("# delete set {table} {name}"),
        Op::DeleteSet(name) => command("delete", "set", name),
        Op::AddElements(name, set_type, some) => elements("add", name, *set_type, some),
        Op::DeleteElements(name, set_type, some) => elements("delete", name, *set_type, some),
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
