//! Completions and man pages.

use crate::common::Place;

#[test]
fn completions_know_all_commands() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let text = place.run(&format!("completions {shell}")).text();
        for word in ["backup", "rename", "backend", "mapsize"] {
            assert!(text.contains(word), "{shell}: {word}");
        }
    }
    let ran = place.shell(r#""$BIFOLD" completions bash > complete && bash -n complete"#);
    if ran.err.contains("not found") {
        println!("skipped: no bash");
    } else {
        assert_eq!(ran.code, 0, "{}", ran.err);
    }
    let error = place.run("completions tcsh").error();
    assert!(error.contains("invalid value 'tcsh'"), "{error}");
    let error = place.run("completions").error();
    assert!(error.contains("required arguments"), "{error}");
    let error = place.run("completions bash --json").error();
    assert!(error.contains("--json is for commands on a database"), "{error}");
}

#[test]
fn every_command_has_a_man_page() {
    let place = Place::new();
    let page = place.run("man").text();
    assert!(page.contains(".TH bifold 1") && page.contains("Exit code: 0"), "{page}");
    let before = place.files();
    std::fs::create_dir(place.path("man1")).unwrap();
    for _ in 0..2 {
        assert_eq!(place.run("man man1").text(), "");
    }
    let pages = std::fs::read_dir(place.path("man1")).unwrap();
    let mut names: Vec<_> = pages.map(|page| page.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names.len(), 16, "{names:?}");
    for name in names {
        let text = std::fs::read_to_string(place.path("man1").join(&name)).unwrap();
        let command = name.strip_suffix(".1").unwrap();
        assert!(text.contains(&format!(".TH {command} 1")), "{name}: {text}");
        assert!(text.contains(&command.replacen('-', " ", 1)), "{name} has no example");
    }
    std::fs::remove_dir_all(place.path("man1")).unwrap();
    assert!(place.files() == before);
    let error = place.run("man missing").error();
    assert!(error.starts_with("bifold: missing/bifold-") && error.contains("No such file"), "{error}");
    std::fs::write(place.path("file"), "").unwrap();
    let error = place.run("man file").error();
    assert!(error.contains("Not a directory"), "{error}");
}
