//! The page's files, compiled into the program: there is nothing to install beside it and nothing to build.
//!
//! Owns which name is which file. Never reads the disk.

/// The page itself, served at `/`.
pub(super) const INDEX: &str = include_str!("index.html");
/// The media type of `INDEX`.
pub(super) const HTML: &str = "text/html; charset=utf-8";

const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// What stands at `/page/{name}`: media type and text.
pub(super) fn file(name: &str) -> Option<(&'static str, &'static str)> {
    let script = match name {
        "style.css" => return Some((CSS, include_str!("style.css"))),
        "app.js" => include_str!("app.js"),
        "channels.js" => include_str!("channels.js"),
        "clock.js" => include_str!("clock.js"),
        "commands.js" => include_str!("commands.js"),
        "composer.js" => include_str!("composer.js"),
        "demo.js" => include_str!("demo.js"),
        "dom.js" => include_str!("dom.js"),
        "fixture.js" => include_str!("fixture.js"),
        "form.js" => include_str!("form.js"),
        "ids.js" => include_str!("ids.js"),
        "log.js" => include_str!("log.js"),
        "markup.js" => include_str!("markup.js"),
        "menu.js" => include_str!("menu.js"),
        "message.js" => include_str!("message.js"),
        "phone.js" => include_str!("phone.js"),
        "server.js" => include_str!("server.js"),
        "store.js" => include_str!("store.js"),
        _ => return None,
    };
    Some((SCRIPT, script))
}

#[cfg(test)]
mod tests {
    use super::{INDEX, file};

    /// Every name that a file asks for, in `import … from "./x"`, `import("./x")`, `src="/page/x"` and `href="/page/x"`.
    fn asked_for(text: &str) -> Vec<&str> {
        ["from \"./", "import(\"./", "=\"/page/"]
            .iter()
            .flat_map(|mark| text.split(mark).skip(1))
            .filter_map(|rest| rest.split('"').next())
            .collect()
    }

    /// Everything that a browser loads for the page, by name.
    fn loaded() -> Vec<(String, &'static str)> {
        let mut open: Vec<String> = asked_for(INDEX).into_iter().map(str::to_owned).collect();
        let mut loaded: Vec<(String, &'static str)> = Vec::new();
        while let Some(name) = open.pop() {
            if loaded.iter().any(|(known, _)| *known == name) {
                continue;
            }
            let (_, text) = file(&name).unwrap_or_else(|| panic!("{name} is asked for and not served"));
            open.extend(asked_for(text).into_iter().map(str::to_owned));
            loaded.push((name, text));
        }
        loaded
    }

    #[test]
    fn every_file_that_the_page_asks_for_is_served() {
        let names: Vec<String> = loaded().into_iter().map(|(name, _)| name).collect();
        for name in ["app.js", "style.css", "markup.js", "ids.js", "fixture.js"] {
            assert!(names.iter().any(|known| known == name), "{name} is not among what the page loads: {names:?}");
        }
    }

    #[test]
    fn outside_text_is_never_parsed_as_html_and_nothing_is_fetched_from_elsewhere() {
        for (name, text) in loaded() {
            for way in
                ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "DOMParser", "eval(", "new Function"]
            {
                assert!(!text.contains(way), "{name} uses {way}");
            }
        }
        assert!(INDEX.contains("default-src 'self'"), "the content security policy is gone");
    }
}
