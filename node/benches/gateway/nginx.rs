//! nginx as the yardstick: one worker, keep-alive on both sides, no access log.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::common::{Guard, pick_ports, program};

pub struct Nginx {
    pub address: SocketAddr,
    process: Guard,
}

impl Nginx {
    pub async fn start(folder: &Path, upstream: SocketAddr) -> Self {
        let dir = folder.join("nginx");
        std::fs::create_dir_all(&dir).unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], pick_ports(1)));
        let config = dir.join("nginx.conf");
        std::fs::write(&config, text(&dir, address, upstream)).unwrap();
        let log = std::fs::File::create(dir.join("stderr.log")).unwrap();
        let process = Guard::start(
            Command::new(program("nginx"))
                .args([Path::new("-p"), &dir, Path::new("-c"), &config])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(log),
        );
        let mut nginx = Self { address, process };
        nginx.wait(&dir).await;
        nginx
    }

    async fn wait(&mut self, dir: &Path) {
        for _ in 0..250 {
            if tokio::net::TcpStream::connect(self.address).await.is_ok() {
                return;
            }
            let said = || std::fs::read_to_string(dir.join("stderr.log")).unwrap_or_default();
            assert!(!self.process.ended(), "nginx ended: {}", said());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("nginx does not answer on {}", self.address);
    }

    /// With `master_process off` the one process is the one worker.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }
}

fn text(dir: &Path, address: SocketAddr, upstream: SocketAddr) -> String {
    let dir = dir.display();
    format!(
        "daemon off;
master_process off;
worker_processes 1;
pid {dir}/nginx.pid;
error_log {dir}/error.log;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {dir}/body;
    proxy_temp_path {dir}/proxy;
    fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi;
    scgi_temp_path {dir}/scgi;
    tcp_nodelay on;
    keepalive_timeout 600s;
    keepalive_requests 100000000;
    upstream echo {{
        server {upstream};
        keepalive 256;
        keepalive_requests 100000000;
        keepalive_timeout 600s;
    }}
    server {{
        listen {address};
        location / {{
            proxy_pass http://echo;
            proxy_http_version 1.1;
            proxy_set_header Connection \"\";
        }}
    }}
}}
"
    )
}
