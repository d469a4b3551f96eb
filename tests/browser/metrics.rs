//! Figures as a person sees them on the page: words, and a picture with the same words as its description.

use serde_json::Value;

use super::deploys::{APP, command};
use super::{act_as, opened};

/// What only the acting member sees.
const EPHEMERAL: &str = "#channel-log article.ephemeral";
/// Width and height of the picture as it came, once it has been loaded, and its description.
const PICTURE: &str = "const one = document.querySelector('#channel-log article.ephemeral a.picture img'); one.loading = 'eager'; \
     return one.decode().then(() => [one.naturalWidth, one.naturalHeight, one.alt])";

#[tokio::test]
async fn figures_are_a_picture_and_say_the_same_in_words() {
    let Some((_one, _demo, browser)) = opened(true).await else { return };
    act_as(&browser, "Ana").await;
    command(&browser, &format!("/metrics service: {APP} window: 1h")).await;
    browser.see(EPHEMERAL, "P95 latency").await;
    browser.see(EPHEMERAL, "memory: ").await;
    let picture = browser.script(PICTURE, Value::Array(Vec::new())).await;
    assert!(picture[0] == 1_200 && picture[1].as_u64().is_some_and(|height| height > 900), "{picture}");
    let alt = picture[2].as_str().unwrap_or_default();
    assert!(alt.starts_with(&format!("{APP}, production. ")) && alt.contains("memory: "), "{alt}");
    browser.pictures("metrics").await;
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    browser.close().await;
}
