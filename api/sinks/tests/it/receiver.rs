//! A webhook's other end: a real HTTP server that answers as it is told to, and remembers what it was sent.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Duration, sleep, timeout};

const PATIENCE: Duration = Duration::from_secs(40);

#[derive(Clone, Debug)]
pub enum Answer {
    Status(u16),
    /// After this long.
    Late(u64, u16),
    /// Never.
    Hang,
    /// The connection breaks in the middle of the first line.
    Break,
    /// Takes it, and never stops talking.
    Endless,
    Redirect(String),
    /// Taken once the gate is open.
    Gated,
}

#[derive(Clone, Debug)]
pub struct Got {
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Got {
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    pub fn id(&self) -> &str {
        self.header("webhook-id")
    }

    /// As a receiver checks it, from the secret's text alone.
    pub fn is_signed_by(&self, secret: &str) -> bool {
        let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
        let signed = format!("{}.{}.{}", self.id(), self.header("webhook-timestamp"), self.body);
        let given = self.header("webhook-signature").strip_prefix("v1,").unwrap();
        let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
        hmac::verify(&key, signed.as_bytes(), &STANDARD.decode(given).unwrap()).is_ok()
    }
}

pub struct Receiver {
    pub url: String,
    /// The next answers; `then` follows.
    script: Mutex<VecDeque<Answer>>,
    then: Mutex<Answer>,
    got: watch::Sender<Vec<Got>>,
    gate: watch::Sender<bool>,
}

impl Receiver {
    pub async fn start(script: &[Answer]) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let receiver = Arc::new(Self {
            url: format!("http://{}/hook", listener.local_addr().unwrap()),
            script: Mutex::new(script.iter().cloned().collect()),
            then: Mutex::new(Answer::Status(204)),
            got: watch::Sender::new(Vec::new()),
            gate: watch::Sender::new(false),
        });
        let own = receiver.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(own.clone().serve(stream));
            }
        });
        receiver
    }

    pub fn answers_from_now_on(&self, answer: Answer) {
        *self.then.lock().unwrap() = answer;
    }

    pub fn open_gate(&self) {
        self.gate.send_replace(true);
    }

    pub fn got(&self) -> Vec<Got> {
        self.got.borrow().clone()
    }

    /// Once there were `count` requests.
    pub async fn wait(&self, count: usize) -> Vec<Got> {
        let mut got = self.got.subscribe();
        let reached = timeout(PATIENCE, got.wait_for(|got| got.len() >= count)).await;
        match reached {
            Ok(got) => got.unwrap().clone(),
            Err(_) => panic!("{count} requests were awaited, these came: {:?}", self.got()),
        }
    }

    async fn serve(self: Arc<Self>, mut stream: TcpStream) {
        while let Some(got) = read(&mut stream).await {
            let answer = self.script.lock().unwrap().pop_front();
            let answer = answer.unwrap_or_else(|| self.then.lock().unwrap().clone());
            self.got.send_modify(|all| all.push(got));
            let status = match answer {
                Answer::Status(status) => status,
                Answer::Late(ms, status) => {
                    sleep(Duration::from_millis(ms)).await;
                    status
                }
                Answer::Hang => return std::future::pending().await,
                Answer::Break => return drop(stream.write_all(b"HTTP/1.1 20").await),
                Answer::Endless => {
                    let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
                    let _ = stream.write_all(head.as_bytes()).await;
                    let chunk = format!("1000\r\n{}\r\n", "x".repeat(0x1000));
                    while stream.write_all(chunk.as_bytes()).await.is_ok() {}
                    return;
                }
                Answer::Redirect(to) => {
                    let head =
                        format!("HTTP/1.1 307 Elsewhere\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n");
                    let _ = stream.write_all(head.as_bytes()).await;
                    continue;
                }
                Answer::Gated => {
                    let _ = self.gate.subscribe().wait_for(|open| *open).await;
                    204
                }
            };
            let head = format!("HTTP/1.1 {status} Told\r\ncontent-length: 0\r\n\r\n");
            if stream.write_all(head.as_bytes()).await.is_err() {
                return;
            }
        }
    }
}

async fn read(stream: &mut TcpStream) -> Option<Got> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
            let mut lines = head.lines();
            lines.next()?;
            let headers: Vec<(String, String)> = lines
                .filter_map(|line| line.split_once(": "))
                .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
                .collect();
            let length = headers.iter().find(|(name, _)| name == "content-length");
            let length: usize = length.map_or(0, |(_, value)| value.parse().unwrap());
            while bytes.len() < end + 4 + length {
                more(stream, &mut bytes).await?;
            }
            let body = String::from_utf8(bytes[end + 4..end + 4 + length].to_vec()).unwrap();
            return Some(Got { headers, body });
        }
        more(stream, &mut bytes).await?;
    }
}

async fn more(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<()> {
    let mut part = [0; 4096];
    let count = stream.read(&mut part).await.ok().filter(|count| *count > 0)?;
    bytes.extend_from_slice(&part[..count]);
    Some(())
}
