//! The sides of this build.
#![forbid(unsafe_code)]

use crate::{Result, Store, for_each_store};

/// The names of all stores of this build.
pub fn all_sides() -> Vec<&'static str> {
    let mut all = Vec::new();
    for_each_store!(S => all.push(S::NAME));
    all
}

/// The sides that are asked for, by their whole names or without `bifold-`; all of Bifold's if none are.
///
/// # Errors
/// If one is asked for that this build does not have.
pub fn choose_sides(wanted: &[String]) -> Result<Vec<String>> {
    let all = all_sides();
    if wanted.is_empty() {
        return Ok(all.iter().filter(|name| name.starts_with("bifold-")).map(ToString::to_string).collect());
    }
    let mut chosen = Vec::new();
    for name in wanted {
        let long = format!("bifold-{name}");
        if name == "all" {
            chosen.extend(all.iter().map(ToString::to_string));
        } else if let Some(found) = all.iter().find(|side| **side == name.as_str() || **side == long) {
            chosen.push((*found).to_string());
        } else {
            return Err(format!(
                "this build has no side {name}; it has {} (others come with cargo's --features, see bench/Cargo.toml)",
                all.join(", ")
            )
            .into());
        }
    }
    let mut seen = std::collections::HashSet::new();
    chosen.retain(|name| seen.insert(name.clone()));
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sides_are_found_by_either_name_once() {
        let some = choose_sides(&["mmap".into(), "bifold-pool".into(), "bifold-mmap".into()]).unwrap();
        assert_eq!(some, ["bifold-mmap", "bifold-pool"]);
        assert!(choose_sides(&[]).unwrap().iter().all(|side| side.starts_with("bifold-")));
        assert_eq!(choose_sides(&["all".into()]).unwrap().len(), all_sides().len());
        assert!(choose_sides(&["rocks".into()]).unwrap_err().to_string().contains("bifold-mmap"));
    }
}
