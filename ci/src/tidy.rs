//! What neither rustfmt nor clippy checks: layout, sizes, bans, who depends on whom, titles.
//!
//! Limits are the project's style: file 600 lines without its tests, function 70, line 100. The
//! lists of exceptions may only shrink: an exception that is no longer needed is an error.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use syn::spanned::Spanned;
use syn::visit::Visit;

const FILE_LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 70;
const LINE_COLUMNS_MAX: usize = 100;

/// Files and functions that are over their limit for now: path, and `path::function`.
const OVER_LIMIT: &[&str] = &[];

/// Everything the top folder may hold.
const ROOT: &[&str] = &[
    ".cargo",
    ".ci",
    ".github",
    ".gitignore",
    "ARCHITECTURE.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "broker",
    "broker-core",
    "ci",
    "clippy.toml",
    "docs",
    "invariants",
    "rustfmt.toml",
    "seeds",
    "sim",
    "workloads",
];

/// Each crate and everything it may depend on, tests and benches left out.
const DEPENDENCIES: &[(&str, &[&str])] = &[
    ("broker-core", &["bytes", "crc", "postcard", "serde"]),
    ("workloads", &["broker-core", "bytes", "serde", "serde_json"]),
    ("invariants", &["broker-core", "bytes", "serde", "serde_json"]),
    (
        "sim",
        &[
            "broker",
            "broker-core",
            "bytes",
            "clap",
            "ctrlc",
            "indicatif",
            "invariants",
            "rand_chacha",
            "serde",
            "serde_json",
            "stateright",
            "tokio",
            "toml",
            "workloads",
        ],
    ),
    (
        "broker",
        &[
            "broker-core",
            "bytes",
            "clap",
            "object_store",
            "postcard",
            "prometheus-client",
            "rand_chacha",
            "serde",
            "serde_json",
            "tokio",
            "toml",
            "tracing",
            "tracing-subscriber",
        ],
    ),
    ("ci", &["clap", "proc-macro2", "syn", "toml"]),
];

/// Module names that say nothing.
const EMPTY_NAMES: &[&str] = &["util", "utils", "common", "helpers", "manager", "misc"];

/// Text that must not stand in our code, and what to do instead.
const BANNED: &[(&str, &str)] = &[
    ("extern crate std", "the lower crates are no_std; only tests may bring std in"),
    ("as_ptr() as ", "an address is different in each process: use an id"),
    ("as *const ", "an address is different in each process: use an id"),
    ("#[allow(", "#[expect(lint, reason = \"…\")], which also expires"),
    ("todo!(", "finish it, or leave it out"),
];

/// Runs every check and reports all that is wrong.
pub(crate) fn check(root: &Path) -> Result<(), String> {
    let mut wrong = Vec::new();
    check_root(root, &mut wrong)?;
    check_manifests(root, &mut wrong)?;
    let mut over = BTreeSet::new();
    let mut sources = Vec::new();
    for file in files(root)? {
        let name = file.strip_prefix(root).expect("found below the root").display().to_string();
        let text = fs::read_to_string(&file).map_err(|e| format!("{name}: {e}"))?;
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("rs") => {
                let parsed = syn::parse_file(&text).map_err(|e| format!("{name}: {e}"))?;
                sources.push(Source { name, text, parsed });
            }
            Some("md") if !text.starts_with("# ") => {
                wrong.push(format!("{name}:1: a page begins with its title, `# …`"));
            }
            _ => {}
        }
    }
    let test_modules: Vec<String> = sources.iter().flat_map(test_modules).collect();
    for source in &sources {
        let stem = source.name.trim_end_matches(".rs");
        let below = |module: &String| stem == module || stem.starts_with(&format!("{module}/"));
        let is_test = source.name.contains("/tests/") || test_modules.iter().any(below);
        check_rust(source, is_test, &mut wrong, &mut over);
    }
    for unneeded in OVER_LIMIT.iter().filter(|name| !over.contains(**name)) {
        wrong.push(format!("{unneeded} is within its limit: take it off the list in tidy.rs"));
    }
    if wrong.is_empty() { Ok(()) } else { Err(format!("\n  {}", wrong.join("\n  "))) }
}

fn check_root(root: &Path, wrong: &mut Vec<String>) -> Result<(), String> {
    for entry in fs::read_dir(root).map_err(|e| format!("{}: {e}", root.display()))? {
        let name = entry.map_err(|e| e.to_string())?.file_name().to_string_lossy().into_owned();
        if !ROOT.contains(&name.as_str()) && name != ".git" && name != "target" {
            wrong.push(format!("{name}: not a thing of the top folder"));
        }
    }
    Ok(())
}

fn check_manifests(root: &Path, wrong: &mut Vec<String>) -> Result<(), String> {
    for (package, allowed) in DEPENDENCIES {
        let path = root.join(package).join("Cargo.toml");
        let text = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        let manifest: toml::Table = text.parse().map_err(|e| format!("{package}: {e}"))?;
        let dependencies = manifest.get("dependencies").and_then(toml::Value::as_table);
        for name in dependencies.into_iter().flat_map(toml::Table::keys) {
            if !allowed.contains(&name.as_str()) {
                wrong.push(format!(
                    "{package}/Cargo.toml: {name} needs an ADR and a line in tidy.rs"
                ));
            }
        }
    }
    Ok(())
}

/// A source file.
struct Source {
    name: String,
    text: String,
    parsed: syn::File,
}

/// The modules, as paths without `.rs`, that a file declares for tests only.
fn test_modules(source: &Source) -> Vec<String> {
    let stem = source.name.trim_end_matches(".rs");
    let folder = match stem.rsplit_once('/') {
        Some((folder, "mod" | "lib" | "main")) => folder,
        _ => stem,
    };
    let declared = source.parsed.items.iter().filter_map(|item| match item {
        syn::Item::Mod(module) if is_cfg_test(&module.attrs) => Some(&module.ident),
        _ => None,
    });
    declared.map(|module| format!("{folder}/{module}")).collect()
}

fn check_rust(
    source: &Source,
    is_test: bool,
    wrong: &mut Vec<String>,
    over: &mut BTreeSet<String>,
) {
    let Source { name, text, parsed } = source;
    if !is_test && !text.starts_with("//!") {
        wrong.push(format!("{name}:1: a file opens with `//!` and one sentence on what it is"));
    }
    if EMPTY_NAMES.iter().any(|empty| name.ends_with(&format!("/{empty}.rs"))) {
        wrong.push(format!("{name}: the name says nothing"));
    }
    let tests_at = tests_begin(parsed).unwrap_or(usize::MAX);
    for (line, number) in text.lines().zip(1..) {
        if line.chars().count() > LINE_COLUMNS_MAX {
            wrong.push(format!("{name}:{number}: over {LINE_COLUMNS_MAX} columns"));
        }
        if !is_test && number < tests_at && name != "ci/src/tidy.rs" {
            check_bans(name, line, number, wrong);
        }
    }
    if is_test {
        return;
    }
    let lines = text.lines().count().min(tests_at);
    if lines > FILE_LINES_MAX && !excused(name, over) {
        wrong.push(format!("{name}: {lines} lines without tests, at most {FILE_LINES_MAX}"));
    }
    let mut functions = Functions { tests_at, long: Vec::new() };
    functions.visit_file(parsed);
    for (function, line, lines) in functions.long {
        if !excused(&format!("{name}::{function}"), over) {
            wrong.push(format!(
                "{name}:{line}: {function} has {lines} lines, at most {FUNCTION_LINES_MAX}"
            ));
        }
    }
}

fn excused(name: &str, over: &mut BTreeSet<String>) -> bool {
    over.insert(name.to_owned());
    OVER_LIMIT.contains(&name)
}

fn check_bans(name: &str, line: &str, number: usize, wrong: &mut Vec<String>) {
    for (ban, instead) in BANNED {
        if line.contains(ban) {
            wrong.push(format!("{name}:{number}: {ban:?} is banned: {instead}"));
        }
    }
    if line.contains("select! {") && !line.contains("biased;") {
        wrong.push(format!("{name}:{number}: open with `select! {{ biased;` on one line"));
    }
    let judge_asks = name.starts_with("invariants/") && line.contains("workloads::");
    let asker_judges = name.starts_with("workloads/") && line.contains("invariants::");
    if judge_asks || asker_judges {
        wrong.push(format!("{name}:{number}: who asks shares no code with who judges"));
    }
}

/// The line where a file's `#[cfg(test)]` module begins; it is the last thing in the file.
fn tests_begin(file: &syn::File) -> Option<usize> {
    file.items.iter().find_map(|item| match item {
        syn::Item::Mod(module) if is_cfg_test(&module.attrs) && module.content.is_some() => {
            Some(module.span().start().line)
        }
        _ => None,
    })
}

fn is_cfg_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let is_test = |list: &syn::MetaList| list.tokens.to_string().contains("test");
        attribute.path().is_ident("cfg") && attribute.meta.require_list().is_ok_and(is_test)
    })
}

/// Collects the functions that are too long.
struct Functions {
    tests_at: usize,
    long: Vec<(String, usize, usize)>,
}

impl Functions {
    fn measure(&mut self, name: &syn::Ident, block: &syn::Block) {
        let (first, last) = (block.span().start().line, block.span().end().line);
        let lines = last - first + 1;
        if first < self.tests_at && lines > FUNCTION_LINES_MAX {
            self.long.push((name.to_string(), first, lines));
        }
    }
}

impl<'ast> Visit<'ast> for Functions {
    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.measure(&function.sig.ident, &function.block);
        syn::visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.measure(&function.sig.ident, &function.block);
        syn::visit::visit_impl_item_fn(self, function);
    }
}

/// Every source file and page below the root, sorted.
fn files(root: &Path) -> Result<Vec<PathBuf>, String> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(|e| format!("{}: {e}", folder.display()))? {
            let path = entry.map_err(|e| e.to_string())?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() && name != ".git" && name != "target" {
                folders.push(path);
            } else if name.ends_with(".rs") || name.ends_with(".md") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}
