//! The small neighbours of the wire world: services that can be well, late, wrong or dead, and an ntfy that writes down who was woken.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use axum::routing::post;
use axum::{Json, Router};
use chrono::{TimeDelta, Utc};
use rcgen::{BasicConstraints, Certificate, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;

use crate::support::world::Behaviour;

/// How late a slow service answers: above whatever bound a transcript sets.
pub const LATE: Duration = Duration::from_millis(1_500);

/// A service at one address for the whole run.
pub struct Service {
    /// Where it is.
    pub addr: SocketAddr,
    /// Holds the port while nobody listens on it, so that a dead service is refused and not somebody else.
    _port: TcpSocket,
    listening: Option<JoinHandle<()>>,
    /// How it answers over TLS; over plain HTTP without.
    tls: Option<TlsAcceptor>,
}

/// An authority of the team's own, that services' certificates are signed by.
pub struct Authority(Certificate, Issuer<'static, KeyPair>);

impl Authority {
    /// A new one.
    pub fn new() -> Result<Self, String> {
        let said = |error: rcgen::Error| error.to_string();
        let key = KeyPair::generate().map_err(said)?;
        let mut params = CertificateParams::new(Vec::new()).map_err(said)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let own = params.self_signed(&key).map_err(said)?;
        Ok(Self(own, Issuer::new(params, key)))
    }

    /// Its own certificate, as a team writes it into a file.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// What a service answers with whose certificate is good for so long.
    #[expect(clippy::disallowed_methods, reason = "certificates are of real time")]
    pub fn certificate(&self, good_for: TimeDelta) -> Result<TlsAcceptor, String> {
        let said = |error: rcgen::Error| error.to_string();
        let key = KeyPair::generate().map_err(said)?;
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).map_err(said)?;
        let ends_s = u64::try_from((Utc::now() + good_for).timestamp()).map_err(|error| error.to_string())?;
        params.not_after = (UNIX_EPOCH + Duration::from_secs(ends_s)).into();
        let own = params.signed_by(&key, &self.1).map_err(said)?;
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(vec![own.der().clone()], key.into()));
        config.map(|config| Arc::new(config).into()).map_err(|error| error.to_string())
    }
}

impl Service {
    /// A healthy one, at any free port. Within a runtime.
    pub fn start() -> std::io::Result<Self> {
        let port = reusable()?;
        port.bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        let mut service = Self { addr: port.local_addr()?, _port: port, listening: None, tls: None };
        service.behave(Behaviour::Healthy)?;
        Ok(service)
    }

    /// What it answers over TLS with, from when it behaves anew.
    pub fn shows(&mut self, tls: TlsAcceptor) {
        self.tls = Some(tls);
    }

    /// From now on it behaves like this.
    pub fn behave(&mut self, behaviour: Behaviour) -> std::io::Result<()> {
        if let Some(old) = self.listening.take() {
            old.abort();
        }
        let (status, after) = match behaviour {
            Behaviour::Healthy => ("200 OK", Duration::ZERO),
            Behaviour::Slow => ("200 OK", LATE),
            Behaviour::Wrong => ("500 Internal Server Error", Duration::ZERO),
            Behaviour::Dead => return Ok(()),
        };
        let socket = reusable()?;
        socket.set_reuseport(true)?;
        socket.bind(self.addr)?;
        self.listening = Some(tokio::spawn(serve(socket.listen(64)?, self.tls.clone(), status, after)));
        Ok(())
    }

    /// Waits until nobody listens any more.
    pub async fn silenced(&mut self) {
        if let Some(old) = self.listening.take() {
            old.abort();
            let _ = old.await;
        }
    }
}

fn reusable() -> std::io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(true)?;
    Ok(socket)
}

async fn serve(listener: TcpListener, tls: Option<TlsAcceptor>, status: &'static str, after: Duration) {
    while let Ok((stream, _)) = listener.accept().await {
        let tls = tls.clone();
        tokio::spawn(async move {
            match tls {
                None => answer(stream, status, after).await,
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        answer(stream, status, after).await;
                    }
                }
            }
        });
    }
}

async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, status: &'static str, after: Duration) {
    let (mut head, mut piece) = (Vec::new(), [0; 1024]);
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut piece).await {
            Ok(read) if read > 0 => head.extend_from_slice(&piece[..read]),
            _ => return,
        }
    }
    tokio::time::sleep(after).await;
    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{{}}");
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
}

/// A stand-in for ntfy: `(topic, message)` of everything that was published.
#[derive(Clone, Default)]
pub struct Ntfy(Arc<Mutex<Vec<(String, String)>>>);

impl Ntfy {
    /// Starts it. Its address, without a topic.
    pub async fn start(&self) -> std::io::Result<String> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let addr = listener.local_addr()?;
        let heard = self.clone();
        let publish = post(async move |Json(body): Json<Value>| {
            let word = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
            heard.0.lock().expect("no panic").push((word("topic"), word("message")));
            Json(body)
        });
        tokio::spawn(async move {
            let _ = axum::serve(listener, Router::new().route("/", publish)).await;
        });
        Ok(format!("http://{addr}"))
    }

    /// What was published since this was asked last.
    pub fn take(&self) -> Vec<(String, String)> {
        std::mem::take(&mut self.0.lock().expect("no panic"))
    }

    /// How much waits to be taken.
    pub fn count(&self) -> usize {
        self.0.lock().expect("no panic").len()
    }
}
