//! A browser without a window, driven as a person would: clicks that must hit, keys that go where the focus is, and a look.
//!
//! Speaks the WebDriver protocol (W3C) with chromedriver; two calls are Chromium's own (window size, colours). Owns the two
//! processes that it starts and a profile of its own. Never waits for a time to pass, only for something to be seen.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use reqwest::{Client, Method};
use serde_json::{Value, json};
use tempfile::TempDir;

/// How long something may take to be seen.
const SEEN_WITHIN: Duration = Duration::from_secs(60);
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(60);
/// The name under which WebDriver hands out an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
/// Keeps the browser to this machine and to itself.
const FLAGS: [&str; 9] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
];

/// Enter, as WebDriver writes it.
pub const ENTER: &str = "\u{e007}";
/// Tab.
pub const TAB: &str = "\u{e004}";
/// Arrow down.
pub const DOWN: &str = "\u{e015}";
/// A desk's window.
pub const WIDE: (u32, u32) = (1280, 860);
/// A higher one, for the picture in the README.
pub const PICTURED: (u32, u32) = (1440, 1000);
/// A phone's.
pub const NARROW: (u32, u32) = (390, 844);

/// Whether both programs are there.
pub fn is_installed() -> bool {
    ["chromedriver", "chromium"].iter().all(|program| {
        let asked = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        asked.is_ok_and(|status| status.success())
    })
}

/// One browser with one tab.
pub struct Browser {
    http: Client,
    session: String,
    screens: PathBuf,
    driver: Child,
    _profile: TempDir,
}

impl Browser {
    /// Starts one. Pictures go to the folder `screens`.
    pub async fn start(screens: &Path, dark: bool) -> Self {
        let profile = tempfile::tempdir().expect("a folder for the profile");
        let port = free_port();
        let driver = Command::new("chromedriver")
            .arg(format!("--port={port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver starts");
        let http = Client::builder().no_proxy().build().expect("an HTTP client");
        let base = format!("http://127.0.0.1:{port}");
        let began = Instant::now();
        while http.get(format!("{base}/status")).send().await.is_err() {
            assert!(began.elapsed() < SEEN_WITHIN, "chromedriver does not answer");
            tokio::time::sleep(LOOK_EVERY).await;
        }
        std::fs::create_dir_all(screens).expect("a folder for the pictures");
        let mut browser =
            Self { http, session: format!("{base}/session"), screens: screens.to_owned(), driver, _profile: profile };
        let mut flags: Vec<String> = FLAGS.iter().map(|&flag| flag.to_owned()).collect();
        flags.push(format!("--user-data-dir={}", browser._profile.path().display()));
        let wanted = json!({ "browserName": "chrome", "goog:chromeOptions": { "args": flags },
            "goog:loggingPrefs": { "browser": "ALL" } });
        let opened = browser.call("", json!({ "capabilities": { "alwaysMatch": wanted } })).await.expect("a session");
        browser.session = format!("{base}/session/{}", opened["sessionId"].as_str().unwrap_or_default());
        let scheme = if dark { "dark" } else { "light" };
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        browser.chromium("Emulation.setEmulatedMedia", media).await;
        browser.window(WIDE).await;
        browser
    }

    /// Closes it in order, and asks that no script of the page failed.
    pub async fn close(mut self) {
        let complaints = self.complaints().await;
        assert!(complaints.is_empty(), "the page complained of {complaints:?}");
        let _ = self.http.delete(&self.session).send().await;
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }

    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value, String> {
        let address = if path.is_empty() { self.session.clone() } else { format!("{}/{path}", self.session) };
        let mut request = self.http.request(method, address).timeout(SEEN_WITHIN);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.map_err(|error| error.to_string())?;
        let ok = answer.status().is_success();
        let mut body: Value = answer.json().await.map_err(|error| error.to_string())?;
        let value = body["value"].take();
        if ok { Ok(value) } else { Err(value["message"].as_str().unwrap_or("no words").to_owned()) }
    }

    async fn call(&self, path: &str, body: Value) -> Result<Value, String> {
        self.ask(Method::POST, path, Some(body)).await
    }

    async fn chromium(&self, command: &str, parameters: Value) {
        let body = json!({ "cmd": command, "params": parameters });
        self.call("goog/cdp/execute", body).await.unwrap_or_else(|why| panic!("{command}: {why}"));
    }

    /// Makes the window so large.
    pub async fn window(&self, (width, height): (u32, u32)) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.chromium("Emulation.setDeviceMetricsOverride", size).await;
    }

    /// Opens an address.
    pub async fn open(&self, address: &str) {
        self.call("url", json!({ "url": address })).await.unwrap_or_else(|why| panic!("{address}: {why}"));
    }

    /// What a script in the page returns.
    pub async fn script(&self, script: &str, arguments: Value) -> Value {
        self.call("execute/sync", json!({ "script": script, "args": arguments })).await.unwrap_or_else(|why| {
            panic!("a script failed: {why}\n{script}");
        })
    }

    /// What can be read at `selector`, in all places that are seen, one a line.
    pub async fn read(&self, selector: &str) -> String {
        const READ: &str = "return [...document.querySelectorAll(arguments[0])].filter((node) => node.checkVisibility())\
             .map((node) => node.innerText.trim()).join('\\n')";
        self.script(READ, json!([selector])).await.as_str().unwrap_or_default().to_owned()
    }

    /// Waits until `words` can be read at `selector`.
    pub async fn see(&self, selector: &str, words: &str) {
        let began = Instant::now();
        loop {
            let read = self.read(selector).await;
            if read.contains(words) {
                return;
            }
            if began.elapsed() > SEEN_WITHIN {
                panic!("“{words}” was not seen at {selector}. There stands:\n{read}\n{}", self.trouble().await);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Clicks the last thing at `selector` that says `words`, once it is there and nothing covers it.
    pub async fn click(&self, selector: &str, words: &str) {
        const FIND: &str = "return [...document.querySelectorAll(arguments[0])].filter((node) => !node.disabled \
             && node.checkVisibility() && `${node.innerText} ${node.ariaLabel ?? ''}`.includes(arguments[1])).at(-1) ?? null";
        let began = Instant::now();
        loop {
            let found = self.script(FIND, json!([selector, words])).await;
            // Between finding and clicking the page may have drawn it anew: then it is looked for again.
            let clicked = match found[ELEMENT].as_str() {
                Some(id) => self.call(&format!("element/{id}/click"), json!({})).await.map(|_| ()),
                None => Err("it is not there".to_owned()),
            };
            let Err(why) = clicked else { return };
            if began.elapsed() > SEEN_WITHIN {
                panic!("“{words}” at {selector} cannot be clicked: {why}\n{}", self.trouble().await);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Types into whatever has the focus.
    pub async fn keys(&self, text: &str) {
        let active = self.ask(Method::GET, "element/active", None).await.unwrap_or_default();
        let id = active[ELEMENT].as_str().expect("something has the focus");
        let typed = self.call(&format!("element/{id}/value"), json!({ "text": text })).await;
        typed.unwrap_or_else(|why| panic!("“{text}” cannot be typed: {why}"));
    }

    /// What a failure needs: a picture of the page, and what it complained of.
    async fn trouble(&self) -> String {
        self.picture("failed").await;
        format!("The page complained of: {:?}; a picture is in {}", self.complaints().await, self.screens.display())
    }

    /// What the page complained of so far.
    pub async fn complaints(&self) -> Vec<String> {
        let log = self.call("se/log", json!({ "type": "browser" })).await.unwrap_or_default();
        let severe = log.as_array().into_iter().flatten().filter(|line| line["level"] == "SEVERE");
        // An answer that refuses is no fault of the page.
        let severe = severe.filter(|line| line["source"] != "network");
        severe.filter_map(|line| line["message"].as_str().map(str::to_owned)).collect()
    }

    /// Writes what is seen to `name.png`.
    pub async fn picture(&self, name: &str) {
        use base64::Engine as _;
        /// What moves is shown where it comes to rest; what never does is left to move.
        const REST: &str = "for (const one of document.getAnimations()) try { one.finish(); } catch {}";
        let _ = self.call("execute/sync", json!({ "script": REST, "args": [] })).await;
        let Ok(shot) = self.ask(Method::GET, "screenshot", None).await else { return };
        let bytes = base64::engine::general_purpose::STANDARD.decode(shot.as_str().unwrap_or_default());
        let file = self.screens.join(format!("{name}.png"));
        std::fs::write(file, bytes.unwrap_or_default()).expect("the picture is written");
    }

    /// Writes what is seen on a wide and on a narrow window.
    pub async fn pictures(&self, name: &str) {
        self.picture(&format!("{name}-wide")).await;
        self.window(NARROW).await;
        self.picture(&format!("{name}-narrow")).await;
        self.window(WIDE).await;
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if self.driver.try_wait().is_ok_and(|ended| ended.is_some()) {
            return;
        }
        // Left by a failure: the browser ends with its session, but not with chromedriver.
        if let Some(rest) = self.session.strip_prefix("http://")
            && let Some((host, path)) = rest.split_once('/')
            && let Ok(mut stream) = std::net::TcpStream::connect(host)
        {
            let _ = stream.set_read_timeout(Some(SEEN_WITHIN));
            let _ = write!(stream, "DELETE /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
            let _ = stream.read(&mut [0; 64]);
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

/// A port that nobody listens on.
pub fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}
