//! Redis as the yardstick: reserving on every account of a call or on none, and settling, each one Lua script on one
//! keep-alive connection. It keeps no memory of a client that dies, asks nobody else, and is one process.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use crate::common::{Args, Guard, Latencies, cpu, pick_ports, program};

const ROOM: &str = "1000000000000";
/// KEYS: accounts, each with what is posted and what is held. ARGV: the limit, the amount.
const RESERVE: &str = "\
for _, key in ipairs(KEYS) do
  local taken = redis.call('HMGET', key, 'posted', 'held')
  if tonumber(taken[1] or 0) + tonumber(taken[2] or 0) + tonumber(ARGV[2]) > tonumber(ARGV[1]) then return 0 end
end
for _, key in ipairs(KEYS) do redis.call('HINCRBY', key, 'held', ARGV[2]) end
return 1";
/// ARGV: what was held, what it cost.
const SETTLE: &str = "\
for _, key in ipairs(KEYS) do
  redis.call('HINCRBY', key, 'held', -tonumber(ARGV[1]))
  redis.call('HINCRBY', key, 'posted', ARGV[2])
end
return 1";

pub struct Redis {
    address: SocketAddr,
    process: Guard,
}

/// What a run gave.
pub struct Sample {
    pub latencies: Latencies,
    pub lasted: Duration,
    pub cpu: Duration,
}

impl Redis {
    /// `appendfsync`: `always` has every script on disk before its answer, as a node has every hold; `no` keeps nothing.
    pub async fn start(folder: &Path, appendfsync: &str) -> Self {
        let dir = folder.join(format!("redis-{appendfsync}"));
        std::fs::create_dir_all(&dir).unwrap();
        let port = pick_ports(1);
        let log = if appendfsync == "no" { "no" } else { "yes" };
        let text = format!(
            "bind 127.0.0.1\nport {port}\ndaemonize no\nsave \"\"\ndir {}\nappendonly {log}\nappendfsync {appendfsync}\n",
            dir.display()
        );
        let config = dir.join("redis.conf");
        std::fs::write(&config, text).unwrap();
        let said = std::fs::File::create(dir.join("redis.log")).unwrap();
        let process = Guard::start(
            Command::new(program("redis-server"))
                .arg(&config)
                .stdin(Stdio::null())
                .stdout(said.try_clone().unwrap())
                .stderr(said),
        );
        let mut redis = Self { address: SocketAddr::from(([127, 0, 0, 1], port)), process };
        for _ in 0..250 {
            if TcpStream::connect(redis.address).await.is_ok() {
                return redis;
            }
            let said = || std::fs::read_to_string(dir.join("redis.log")).unwrap_or_default();
            assert!(!redis.process.ended(), "redis-server ended: {}", said());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("redis-server does not answer on {}", redis.address);
    }

    /// `clients` reserve and settle in turn on `accounts` accounts each, one of them everybody's.
    pub async fn run(&self, clients: usize, accounts: usize, args: &Args) -> Sample {
        let from = Instant::now() + args.warm_up;
        let until = from + args.measured;
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..clients {
            let mut client = Client::connect(self.address).await;
            tasks.spawn(async move {
                let (reserve, settle) = (client.load(RESERVE).await, client.load(SETTLE).await);
                let own = |account| format!("account:{number}:{account}");
                let mut keys: Vec<String> = (1..accounts).map(own).collect();
                keys.push("account:all".to_owned());
                let mut latencies = Latencies::default();
                while Instant::now() < until {
                    let began = Instant::now();
                    assert_eq!(client.run(&reserve, &keys, [ROOM, "1"]).await, 1, "there is room");
                    assert_eq!(client.run(&settle, &keys, ["1", "1"]).await, 1);
                    if began >= from {
                        latencies.add(began.elapsed());
                    }
                }
                latencies
            });
        }
        tokio::time::sleep_until(from.into()).await;
        let before = cpu(&[self.process.pid()]);
        tokio::time::sleep_until(until.into()).await;
        let (lasted, after) = (from.elapsed(), cpu(&[self.process.pid()]));
        let mut sample =
            Sample { latencies: Latencies::default(), lasted, cpu: after.saturating_sub(before) };
        while let Some(done) = tasks.join_next().await {
            sample.latencies.join(done.unwrap());
        }
        sample
    }
}

struct Client {
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
}

impl Client {
    async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (reader, writer) = stream.into_split();
        Self { reader: BufReader::new(reader), writer }
    }

    async fn ask(&mut self, words: &[&str]) -> String {
        let mut text = format!("*{}\r\n", words.len());
        for word in words {
            text.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        self.writer.write_all(text.as_bytes()).await.unwrap();
        let line = self.line().await;
        let Some(length) = line.strip_prefix('$') else { return line };
        let mut body = vec![0; length.parse::<usize>().unwrap() + 2];
        self.reader.read_exact(&mut body).await.unwrap();
        String::from_utf8(body).unwrap().trim_end().to_owned()
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        self.reader.read_line(&mut line).await.unwrap();
        assert!(!line.starts_with('-') && !line.is_empty(), "redis says: {line}");
        line.trim_end().to_owned()
    }

    /// The script's digest, by which it is run.
    async fn load(&mut self, script: &str) -> String {
        self.ask(&["SCRIPT", "LOAD", script]).await
    }

    async fn run(&mut self, script: &str, keys: &[String], values: [&str; 2]) -> i64 {
        let count = keys.len().to_string();
        let mut words = vec!["EVALSHA", script, &count];
        words.extend(keys.iter().map(String::as_str));
        words.extend(values);
        let line = self.ask(&words).await;
        line.strip_prefix(':')
            .and_then(|number| number.parse().ok())
            .unwrap_or_else(|| panic!("redis says: {line}"))
    }
}
