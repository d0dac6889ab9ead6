//! The TypeScript side of the table: `AppRouter`, the type our pages and the app give to `createTRPCClient`.
//!
//! In: the table of procedures. Out: one `.ts` file of types, no code. Driven by a test that compares it with the file
//! in the repository, so that a changed procedure cannot be committed without its type.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::table::{Kind, Procedure, Table};

/// A TypeScript type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ts {
    /// `string`, `number`, `boolean`, `Date`, `void`.
    Plain(&'static str),
    /// A union of texts.
    Choice(&'static [&'static str]),
    List(Box<Self>),
    Record(Box<Self>),
    Nullable(Box<Self>),
    OrUndefined(Box<Self>),
    /// An interface, declared once under this name.
    Named(&'static str, Vec<Member>),
}

/// One member of an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) name: &'static str,
    pub(crate) optional: bool,
    pub(crate) type_of: Ts,
}

impl Ts {
    fn reference(&self) -> String {
        match self {
            Self::Plain(name) | Self::Named(name, _) => (*name).to_owned(),
            Self::Choice(values) => values.iter().map(|value| format!("'{value}'")).collect::<Vec<_>>().join(" | "),
            Self::List(item) => match item.as_ref() {
                Self::Choice(_) | Self::Nullable(_) | Self::OrUndefined(_) => format!("({})[]", item.reference()),
                _ => format!("{}[]", item.reference()),
            },
            Self::Record(item) => format!("Record<string, {}>", item.reference()),
            Self::Nullable(item) => format!("{} | null", item.reference()),
            Self::OrUndefined(item) => format!("{} | undefined", item.reference()),
        }
    }

    /// Collects the interfaces this type needs, by name.
    fn declare(&self, into: &mut BTreeMap<&'static str, Vec<Member>>) {
        match self {
            Self::Plain(_) | Self::Choice(_) => {}
            Self::List(item) | Self::Record(item) | Self::Nullable(item) | Self::OrUndefined(item) => {
                item.declare(into)
            }
            Self::Named(name, members) => {
                if let Some(other) = into.insert(name, members.clone()) {
                    assert!(other == *members, "two different types are both called {name}");
                }
                members.iter().for_each(|member| member.type_of.declare(into));
            }
        }
    }
}

impl Table {
    /// The file `control/web/src/api/app-router.ts`.
    pub(crate) fn typescript(&self) -> String {
        let mut interfaces = BTreeMap::new();
        for procedure in self.procedures() {
            procedure.input.declare(&mut interfaces);
            procedure.output.declare(&mut interfaces);
        }
        let mut file = String::from(HEAD);
        for (name, members) in interfaces {
            let _ = writeln!(file, "\nexport interface {name} {{");
            for Member { name, optional, type_of } in members {
                let _ = writeln!(file, "  {name}{}: {};", if optional { "?" } else { "" }, type_of.reference());
            }
            file.push_str("}\n");
        }
        file.push_str("\ntype Procedures = {\n");
        for (namespace, procedures) in self.namespaces() {
            let _ = writeln!(file, "  {namespace}: {{");
            for procedure in procedures {
                file.push_str(&record_line(procedure));
            }
            file.push_str("  };\n");
        }
        file.push_str("};\n");
        file.push_str(TAIL);
        file
    }
}

fn record_line(procedure: &Procedure) -> String {
    let kind = match procedure.kind {
        Kind::Query => "TRPCQueryProcedure",
        Kind::Mutation => "TRPCMutationProcedure",
    };
    let (_, name) = procedure.path.split_once('.').unwrap_or(("", &procedure.path));
    let (input, output) = (procedure.input.reference(), procedure.output.reference());
    format!("    {name}: {kind}<{{ input: {input}; output: {output}; meta: object }}>;\n")
}

const HEAD: &str = "\
// Generated from the table of procedures; do not edit. To bring it up to date:
//   CHOBI_UPDATE_APP_ROUTER=1 cargo test -p chobi-control --test app_router
//
// Types only: `createTRPCClient<AppRouter>({ links: [httpLink({ url, transformer: superjson })] })`.

import type {
  TRPCBuiltRouter,
  TRPCDefaultErrorShape,
  TRPCMutationProcedure,
  TRPCQueryProcedure,
} from '@trpc/server';
";

const TAIL: &str = "
export type AppRouter = TRPCBuiltRouter<
  {
    ctx: object;
    meta: object;
    errorShape: TRPCDefaultErrorShape;
    transformer: true;
  },
  Procedures
>;
";
