//! Files that change under a client, and a server that looks at the token.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use futures::FutureExt;

use super::*;

/// Answers 200 to this token, and 401 to any other one. Tells its address.
fn server(accepted: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("accept");
            let mut head = vec![0; 4096];
            let length = stream.read(&mut head).expect("read");
            let head = String::from_utf8_lossy(&head[..length]).to_lowercase();
            let is_right = head.contains(&format!("authorization: bearer {accepted}\r\n"));
            let status = if is_right { "200 OK" } else { "401 Unauthorized" };
            let answer =
                format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            stream.write_all(answer.as_bytes()).expect("write");
        }
    });
    format!("http://{address}")
}

fn loaded(url: &str, folder: &Path) -> Loaded {
    let mut config = Config::new(url.parse().expect("a URL"));
    config.auth_info.token_file = Some(folder.join("token").display().to_string());
    Loaded { config, files: vec![folder.join("kubeconfig")] }
}

async fn status(client: &Client) -> u16 {
    let request = Request::get("/").body(Body::empty()).expect("a request");
    client.send(request).await.expect("an answer").status().as_u16()
}

#[tokio::test]
async fn files_are_read_again_when_they_change_and_only_then() {
    let folder = std::env::temp_dir().join(format!("nftpol-renewing-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    let write = |name: &str, text: &str| fs::write(folder.join(name), text).expect("write");
    write("token", "old");
    let url = server("new");
    let loads = Arc::new(AtomicUsize::new(0));
    let load: Load = {
        let (loads, url, folder) = (Arc::clone(&loads), url.clone(), folder.clone());
        Box::new(move || {
            loads.fetch_add(1, Ordering::Relaxed);
            let text = fs::read_to_string(folder.join("kubeconfig")).unwrap_or_default();
            let result =
                if text == "half" { Err("it is half".into()) } else { Ok(loaded(&url, &folder)) };
            async { result }.boxed()
        })
    };
    let client = renewing_client(loaded(&url, &folder), load).expect("a client");
    assert_eq!([status(&client).await, status(&client).await], [401, 401]);
    assert_eq!(loads.load(Ordering::Relaxed), 0, "nothing has changed");
    // The token of a ServiceAccount is renewed.
    write("token", "new\n");
    assert_eq!([status(&client).await, status(&client).await], [200, 200]);
    assert_eq!(loads.load(Ordering::Relaxed), 1);
    // The configuration is being written, and has no effect before it is whole.
    write("kubeconfig", "half");
    assert_eq!([status(&client).await, status(&client).await], [200, 200]);
    write("kubeconfig", "whole");
    assert_eq!([status(&client).await, status(&client).await], [200, 200]);
    assert_eq!(loads.load(Ordering::Relaxed), 4);
    write("token", "of another cluster");
    assert_eq!(status(&client).await, 401);
    fs::remove_dir_all(&folder).expect("remove the folder");
}
