//! A real KMS endpoint, and a proxy in front of it that does what KMS does on a bad day.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_kms::Client;
use aws_sdk_kms::config::{BehaviorVersion, Credentials, Region};
use only1mcp_keys::{AwsKms, AwsKmsOptions, KmsPlace};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

pub const REGION: &str = "eu-central-1";

/// Killed when dropped.
pub struct Moto {
    child: Child,
    pub port: u16,
}

fn starter() -> PathBuf {
    let kit = match std::env::var_os("ONLY1MCP_PEERS") {
        Some(folder) => PathBuf::from(folder),
        // Where this lies differs: other packages' tests use this file too.
        None => {
            let folders = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
            folders
                .map(|folder| folder.join(".peers"))
                .find(|kit| kit.exists())
                .expect("`.peers` is not there")
        }
    };
    let path = kit.join("bin").join("moto-server");
    assert!(path.exists(), "{} is not there: run `cargo xtask test`, which installs it", path.display());
    path
}

impl Moto {
    pub async fn start() -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = Command::new(starter())
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let moto = Self { child, port };
        for _ in 0..600 {
            if TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
                return moto;
            }
            sleep(Duration::from_millis(50)).await;
        }
        panic!("moto does not listen");
    }

    pub fn client(&self, region: &'static str) -> Client {
        let http = aws_smithy_http_client::Builder::new().build_http();
        let config = aws_sdk_kms::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .http_client(http)
            .region(Region::new(region))
            .endpoint_url(format!("http://127.0.0.1:{}", self.port))
            .credentials_provider(credentials());
        Client::from_conf(config.build())
    }

    /// A new key's ARN.
    pub async fn key(&self, region: &'static str) -> String {
        let made = self.client(region).create_key().send().await.unwrap();
        made.key_metadata.unwrap().arn.unwrap()
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

pub fn credentials() -> Credentials {
    Credentials::new("AKIATESTTESTTEST", "the-secret-of-the-test", None, None, "test")
}

/// What the proxy does with the next requests.
#[derive(Clone, Debug)]
pub enum Fault {
    None,
    /// An error of KMS' own.
    Answers(u16, &'static str),
    /// Nothing, ever.
    Hangs,
    /// The connection is closed.
    Drops,
    /// The answer to another request, whole.
    Swaps(Vec<u8>),
    /// Not JSON.
    Garbage,
    /// So many requests are refused as too many, then all pass.
    Throttles(usize),
}

/// Listens on a port of its own.
#[derive(Clone)]
pub struct Proxy {
    pub port: u16,
    fault: Arc<Mutex<Fault>>,
    /// Bodies of the answers that passed.
    pub passed: Arc<Mutex<Vec<Vec<u8>>>>,
    pub asked: Arc<Mutex<usize>>,
}

impl Proxy {
    pub async fn start(moto: &Moto) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Self {
            port: listener.local_addr().unwrap().port(),
            fault: Arc::new(Mutex::new(Fault::None)),
            passed: Arc::default(),
            asked: Arc::default(),
        };
        let (own, to) = (proxy.clone(), moto.port);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let own = own.clone();
                tokio::spawn(async move { own.serve(stream, to).await });
            }
        });
        proxy
    }

    pub fn set(&self, fault: Fault) {
        *self.fault.lock().unwrap() = fault;
    }

    pub fn place(&self, region: &str, key: &str) -> KmsPlace {
        KmsPlace {
            region: region.to_owned(),
            key_id: key.to_owned(),
            endpoint: Some(format!("http://127.0.0.1:{}", self.port)),
        }
    }

    /// One request a connection: the answer says so.
    async fn serve(&self, mut stream: TcpStream, to: u16) -> Option<()> {
        let request = read_message(&mut stream).await?;
        *self.asked.lock().unwrap() += 1;
        let fault = {
            let mut fault = self.fault.lock().unwrap();
            match &mut *fault {
                Fault::Throttles(0) => Fault::None,
                Fault::Throttles(left) => {
                    *left -= 1;
                    Fault::Answers(400, "ThrottlingException")
                }
                other => other.clone(),
            }
        };
        let body = match fault {
            Fault::Drops => return None,
            Fault::Hangs => std::future::pending().await,
            Fault::Answers(status, code) => {
                let body = format!("{{\"__type\":\"{code}\",\"message\":\"as asked\"}}");
                return answer(&mut stream, status, body.as_bytes()).await;
            }
            Fault::Garbage => b"<html>".to_vec(),
            Fault::Swaps(body) => body,
            Fault::None | Fault::Throttles(_) => {
                let mut upstream = TcpStream::connect(("127.0.0.1", to)).await.ok()?;
                upstream.write_all(&request).await.ok()?;
                let response = read_message(&mut upstream).await?;
                let status = std::str::from_utf8(response.get(9..12)?).ok()?.parse().ok()?;
                let at = response.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
                let body = response[at..].to_vec();
                if status != 200 {
                    return answer(&mut stream, status, &body).await;
                }
                self.passed.lock().unwrap().push(body.clone());
                body
            }
        };
        answer(&mut stream, 200, &body).await
    }
}

async fn answer(stream: &mut TcpStream, status: u16, body: &[u8]) -> Option<()> {
    let head = format!(
        "HTTP/1.1 {status} X\r\ncontent-type: application/x-amz-json-1.1\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.ok()?;
    stream.write_all(body).await.ok()?;
    stream.shutdown().await.ok()
}

/// A request or an answer with a stated length.
async fn read_message(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4_096];
    loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..at]).to_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
            let length: usize = length.map_or(0, |length| length.trim().parse().unwrap());
            if bytes.len() >= at + 4 + length {
                return Some(bytes);
            }
        }
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return None,
            Ok(read) => bytes.extend_from_slice(&buffer[..read]),
        }
    }
}

/// Short deadlines: the tests wait for what does not come.
pub async fn provider(places: Vec<KmsPlace>) -> AwsKms {
    let options = AwsKmsOptions {
        connect: Duration::from_secs(2),
        attempt: Duration::from_secs(2),
        operation: Duration::from_secs(5),
        attempts_max: 2,
        own_keys: true,
        credentials: Some(credentials()),
    };
    AwsKms::new(places, options).await.unwrap()
}
