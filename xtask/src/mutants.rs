//! Runs the simulator with each mutant of `sim/mutants`: a patch that breaks one thing, and names
//! the checkers that must notice.
//!
//! ```text
//! Breaks: a receiver's acknowledgement ends two legs of its run.
//! Checker: confirms, outcomes
//!
//! diff --git a/engine/src/ledger/legs.rs b/engine/src/ledger/legs.rs
//! ```
//!
//! A line `Option: --standby` below the others gives the simulator an option that the mutant needs
//! to be seen.
//!
//! Patches are applied to a copy of the tree, one at a time, and built into one folder, so that a
//! mutant costs what it changes. One that does not apply is an error: whoever moved the code mends
//! the patch.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

/// The profile of the workspace that mutants are built with.
const PROFILE: &str = "mutants";

/// One mutant.
struct Mutant {
    name: String,
    patch: PathBuf,
    breaks: String,
    /// Any of these checkers is to notice.
    checkers: String,
    /// What the simulator has to be asked for besides, if anything.
    option: Option<String>,
}

/// Runs the mutants whose names contain one of `names`, or all. Returns how many no named checker
/// caught within `seeds` seeds.
pub(crate) fn run(root: &Path, names: &[String], seeds: u64) -> Result<usize> {
    let folder = root.join("target/mutants");
    let tree = folder.join("tree");
    let mut out = std::io::stdout();
    let mut missed = 0;
    let all = read(&root.join("sim/mutants"))?;
    for mutant in &all {
        if !names.is_empty() && !names.iter().any(|name| mutant.name.contains(name.as_str())) {
            continue;
        }
        copy(root, &tree)?;
        apply(&tree, &mutant.patch)?;
        let simulator = build(&tree, &folder.join("build"), &mutant.name)?;
        let seeds = seeds.to_string();
        let arguments = ["--seeds", &seeds, "--expect", &mutant.checkers];
        let caught = Command::new(simulator)
            .args(arguments)
            .args(&mutant.option)
            .output()
            .context("the simulator does not run")?;
        let said = String::from_utf8_lossy(&caught.stdout);
        let last = said.lines().last().unwrap_or_default();
        let verdict = if caught.status.success() { "caught" } else { "MISSED" };
        missed += usize::from(!caught.status.success());
        writeln!(out, "{verdict}  {}: {}\n        {last}", mutant.name, mutant.breaks)?;
    }
    writeln!(out, "{} mutants, {missed} missed", all.len())?;
    Ok(missed)
}

/// All mutants, by name.
fn read(folder: &Path) -> Result<Vec<Mutant>> {
    let mut mutants = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let patch = entry?.path();
        if patch.extension().is_none_or(|extension| extension != "patch") {
            continue;
        }
        let text = fs::read_to_string(&patch)?;
        let line = |key: &str| -> Result<String> {
            let found = text.lines().find_map(|line| line.strip_prefix(key));
            Ok(found.with_context(|| format!("{} has no line {key:?}", patch.display()))?.trim().to_owned())
        };
        let name = patch.file_stem().and_then(|stem| stem.to_str()).context("a name that is no text")?;
        let (name, breaks, checkers) = (name.to_owned(), line("Breaks:")?, line("Checker:")?);
        let option = line("Option:").ok();
        mutants.push(Mutant { name, breaks, checkers, option, patch });
    }
    mutants.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(mutants)
}

/// Makes the copy what the repository is. A file that is the same already is left alone, so that
/// nothing is built anew because of it.
fn copy(root: &Path, tree: &Path) -> Result<()> {
    let arguments = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let listed =
        Command::new("git").current_dir(root).args(arguments).output().context("git does not run")?;
    ensure!(listed.status.success(), "git cannot list the files of {}", root.display());
    let mut here = BTreeSet::new();
    for name in listed.stdout.split(|&byte| byte == 0).filter(|name| !name.is_empty()) {
        let name = Path::new(std::str::from_utf8(name).context("a name that is no text")?);
        let (from, to) = (root.join(name), tree.join(name));
        let Ok(bytes) = fs::read(&from) else { continue };
        here.insert(to.clone());
        if fs::read(&to).is_ok_and(|there| there == bytes) {
            continue;
        }
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&to, bytes).with_context(|| format!("cannot write {}", to.display()))?;
    }
    remove_others(tree, &here)
}

/// Removes the files below a folder that are not among `here`: those that the repository had
/// before, of which one may be built in place of the one that took its name.
fn remove_others(folder: &Path, here: &BTreeSet<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            remove_others(&path, here)?;
        } else if !here.contains(&path) {
            fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    Ok(())
}

fn apply(tree: &Path, patch: &Path) -> Result<()> {
    let mut git = Command::new("git");
    // The copy is in a folder that the repository ignores: git is not to look above it.
    git.current_dir(tree).env("GIT_CEILING_DIRECTORIES", tree.parent().unwrap_or(tree));
    let applied = git.arg("apply").arg(patch).output().context("git does not run")?;
    if !applied.status.success() {
        let why = String::from_utf8_lossy(&applied.stderr);
        bail!("{} does not apply: make it anew where the code went\n{why}", patch.display());
    }
    Ok(())
}

/// Builds the simulator of the copy; where it is.
fn build(tree: &Path, target: &Path, name: &str) -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(tree).env_remove("RUSTFLAGS").env("CARGO_INCREMENTAL", "1");
    command.args(["build", "--quiet", "--locked", "--package", "millrace-sim", "--profile", PROFILE]);
    let built = command.arg("--target-dir").arg(target).output().context("cargo does not run")?;
    if !built.status.success() {
        bail!("{name} does not build:\n{}", String::from_utf8_lossy(&built.stderr));
    }
    Ok(target.join(PROFILE).join("millrace-sim"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_loses_what_the_repository_has_lost() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let (root, tree) = (folder.path().join("root"), folder.path().join("tree"));
        fs::create_dir_all(root.join("a"))?;
        fs::create_dir_all(&tree)?;
        ensure!(Command::new("git").arg("init").arg("--quiet").arg(&root).status()?.success(), "git init");
        fs::write(root.join("a/old.rs"), "old")?;
        fs::write(root.join("kept.rs"), "kept")?;
        copy(&root, &tree)?;
        assert_eq!(fs::read(tree.join("a/old.rs"))?, b"old");
        fs::remove_file(root.join("a/old.rs"))?;
        fs::write(root.join("a/new.rs"), "new")?;
        copy(&root, &tree)?;
        assert!(!tree.join("a/old.rs").exists());
        assert_eq!(
            (fs::read(tree.join("a/new.rs"))?, fs::read(tree.join("kept.rs"))?),
            (b"new".into(), b"kept".into())
        );
        Ok(())
    }

    #[test]
    fn every_mutant_says_what_it_breaks_and_applies() -> Result<()> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("no workspace")?;
        let mutants = read(&root.join("sim/mutants"))?;
        assert!(mutants.len() >= 16, "{}", mutants.len());
        for mutant in mutants {
            let arguments = ["apply", "--check"];
            let check = Command::new("git").current_dir(root).args(arguments).arg(&mutant.patch).output()?;
            assert!(check.status.success(), "{}: {}", mutant.name, String::from_utf8_lossy(&check.stderr));
        }
        Ok(())
    }
}
