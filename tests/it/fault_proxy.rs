//! The fault proxy does what it is told, or no test behind it means anything.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::routing::any;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::fault_proxy::{Fault, FaultProxy, Way};

const WITHIN: Duration = Duration::from_secs(30);

/// Sends back what it gets.
async fn echo_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
            });
        }
    });
    addr
}

async fn proxied_echo() -> (FaultProxy, TcpStream) {
    let proxy = FaultProxy::start(echo_server().await).await.unwrap();
    let client = TcpStream::connect(proxy.addr()).await.unwrap();
    (proxy, client)
}

async fn echoes(stream: &mut TcpStream, message: &[u8]) {
    stream.write_all(message).await.unwrap();
    let mut echoed = vec![0; message.len()];
    tokio::time::timeout(WITHIN, stream.read_exact(&mut echoed)).await.unwrap().unwrap();
    assert_eq!(echoed, message);
}

/// Reads to the end: the bytes that came, and how it ended.
async fn read_out(stream: &mut TcpStream) -> (Vec<u8>, Option<ErrorKind>) {
    let mut bytes = Vec::new();
    let ended = tokio::time::timeout(WITHIN, stream.read_to_end(&mut bytes)).await.unwrap();
    (bytes, ended.err().map(|error| error.kind()))
}

/// An HTTP server that counts the requests that reach it, behind a proxy.
async fn proxied_http() -> (FaultProxy, String, Arc<AtomicUsize>) {
    async fn count(State(reached): State<Arc<AtomicUsize>>, body: String) -> String {
        reached.fetch_add(1, Ordering::SeqCst);
        format!("got {} bytes", body.len())
    }
    let reached = Arc::new(AtomicUsize::new(0));
    let app = Router::new().fallback(any(count)).with_state(Arc::clone(&reached));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = FaultProxy::start(listener.local_addr().unwrap()).await.unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    let url = format!("http://{}", proxy.addr());
    (proxy, url, reached)
}

fn http_client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().timeout(WITHIN).build().unwrap()
}

#[tokio::test]
async fn without_a_fault_all_bytes_pass_and_a_closed_half_stays_a_half() {
    let (_proxy, mut client) = proxied_echo().await;
    let message: Vec<u8> = (0..200_000_u32).map(|n| n as u8).collect();
    let (mut from, mut to) = client.split();
    let send = async {
        to.write_all(&message).await.unwrap();
        to.shutdown().await.unwrap();
    };
    let mut echoed = Vec::new();
    let (_, read) = tokio::join!(send, from.read_to_end(&mut echoed));
    read.unwrap();
    assert!(echoed == message);
}

#[tokio::test]
async fn latency_is_added_each_way() {
    let (proxy, mut client) = proxied_echo().await;
    proxy.set(Fault::Slow { latency: Duration::from_millis(60), bytes_per_sec: None }).await;
    let begun = Instant::now();
    echoes(&mut client, b"hello").await;
    assert!(begun.elapsed() >= Duration::from_millis(120), "took {:?}", begun.elapsed());
}

#[tokio::test]
async fn a_rate_is_kept_until_it_is_lifted() {
    let (proxy, mut client) = proxied_echo().await;
    proxy.set(Fault::Slow { latency: Duration::ZERO, bytes_per_sec: Some(40_000) }).await;
    let begun = Instant::now();
    echoes(&mut client, &[7; 12_000]).await;
    assert!(begun.elapsed() >= Duration::from_millis(250), "took {:?}", begun.elapsed());

    // A byte per second would outlast the test by far; open connections feel the change at once.
    proxy.set(Fault::Slow { latency: Duration::ZERO, bytes_per_sec: Some(1) }).await;
    client.write_all(&[7; 12_000]).await.unwrap();
    let first = client.read_u8().await.unwrap();
    proxy.set(Fault::Pass).await;
    let mut rest = vec![0; 11_999];
    tokio::time::timeout(WITHIN, client.read_exact(&mut rest)).await.unwrap().unwrap();
    assert!(first == 7 && rest.iter().all(|byte| *byte == 7));
}

#[tokio::test]
async fn a_download_is_reset_at_its_byte_and_only_as_often_as_told() {
    let (proxy, mut client) = proxied_echo().await;
    proxy.set(Fault::ResetAfter { way: Way::ToClient, bytes: 1000, times: 1 }).await;
    client.write_all(&[7; 1000]).await.unwrap();
    proxy.struck(1).await;
    // A reset discards what the client had not read yet, so only the upper bound is certain.
    let (bytes, ended) = read_out(&mut client).await;
    assert!(bytes.len() <= 1000);
    assert_eq!(ended, Some(ErrorKind::ConnectionReset));

    let mut again = TcpStream::connect(proxy.addr()).await.unwrap();
    echoes(&mut again, &[7; 5000]).await;
}

#[tokio::test]
async fn an_upload_is_reset_at_its_byte() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = FaultProxy::start(listener.local_addr().unwrap()).await.unwrap();
    proxy.set(Fault::ResetAfter { way: Way::ToServer, bytes: 30_000, times: 1 }).await;
    let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
    let (mut server, _) = listener.accept().await.unwrap();
    let mut upload = client.write_all(&[7; 29_999]).await;
    let mut got = vec![0; 29_999];
    server.read_exact(&mut got).await.unwrap();
    upload = upload.and(client.write_all(&[7; 2]).await);
    assert!(upload.is_ok());
    proxy.struck(1).await;
    let (rest, ended) = read_out(&mut server).await;
    assert!(rest.len() <= 1);
    assert_eq!(ended, Some(ErrorKind::ConnectionReset));
    assert_eq!(read_out(&mut client).await.1, Some(ErrorKind::ConnectionReset));
}

#[tokio::test]
async fn a_black_hole_freezes_open_and_new_connections_and_they_thaw() {
    let (proxy, mut open) = proxied_echo().await;
    echoes(&mut open, b"before").await;
    proxy.set(Fault::BlackHole).await;
    let mut new = TcpStream::connect(proxy.addr()).await.unwrap();
    for stream in [&mut open, &mut new] {
        stream.write_all(b"into the dark").await.unwrap();
        let silence = tokio::time::timeout(Duration::from_millis(150), stream.read_u8()).await;
        assert!(silence.is_err());
    }
    proxy.set(Fault::Pass).await;
    for stream in [&mut open, &mut new] {
        let mut echoed = [0; 13];
        tokio::time::timeout(WITHIN, stream.read_exact(&mut echoed)).await.unwrap().unwrap();
        assert_eq!(&echoed, b"into the dark");
    }
}

#[tokio::test]
async fn refused_means_refused_until_it_listens_again_at_the_same_address() {
    let (proxy, mut open) = proxied_echo().await;
    echoes(&mut open, b"before").await;
    proxy.set(Fault::Refuse).await;
    let refused = TcpStream::connect(proxy.addr()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    echoes(&mut open, b"still here").await;

    proxy.set(Fault::Pass).await;
    let mut again = TcpStream::connect(proxy.addr()).await.unwrap();
    echoes(&mut again, b"again").await;
}

#[tokio::test]
async fn open_connections_can_be_dropped_and_new_ones_pass() {
    let (proxy, mut client) = proxied_echo().await;
    echoes(&mut client, b"before").await;
    proxy.drop_all();
    assert_eq!(read_out(&mut client).await.1, Some(ErrorKind::ConnectionReset));
    let mut again = TcpStream::connect(proxy.addr()).await.unwrap();
    echoes(&mut again, b"again").await;
}

#[tokio::test]
async fn an_upstream_that_is_away_is_a_reset() {
    let away = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let proxy = FaultProxy::start(away).await.unwrap();
    let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
    assert_eq!(read_out(&mut client).await.1, Some(ErrorKind::ConnectionReset));
}

#[tokio::test]
async fn a_request_answered_503_never_reaches_the_server_and_the_next_does() {
    let (proxy, url, reached) = proxied_http().await;
    let client = http_client();
    // A kept-alive connection is no hiding place.
    assert_eq!(client.get(&url).send().await.unwrap().status(), 200);
    proxy.set(Fault::unavailable("", 2)).await;
    for body in ["small".to_owned(), "x".repeat(3_000_000)] {
        assert_eq!(client.put(&url).body(body).send().await.unwrap().status(), 503);
    }
    assert_eq!(client.put(&url).body("third").send().await.unwrap().status(), 200);
    assert_eq!(reached.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn an_error_inside_a_200_is_for_the_named_request_only() {
    let (proxy, url, reached) = proxied_http().await;
    let client = http_client();
    proxy.set(Fault::error_inside_200("uploadId=", 1)).await;
    let other = client.post(&url).body("x").send().await.unwrap();
    assert_eq!(other.text().await.unwrap(), "got 1 bytes");
    let named = client.post(format!("{url}/key?uploadId=1")).body("x").send().await.unwrap();
    assert_eq!(named.status(), 200);
    assert!(named.text().await.unwrap().contains("<Code>InternalError</Code>"));
    assert_eq!(reached.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_lost_reply_is_lost_after_the_server_has_done_the_work() {
    let (proxy, url, reached) = proxied_http().await;
    let client = http_client();
    proxy.set(Fault::LoseReply { to: "POST ", times: 1 }).await;
    assert_eq!(client.get(&url).send().await.unwrap().status(), 200);
    assert!(client.post(&url).body("work").send().await.is_err());
    proxy.struck(1).await;
    assert_eq!(reached.load(Ordering::SeqCst), 2);
    assert_eq!(client.post(&url).body("work").send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn what_is_held_back_goes_on_with_the_next_fault() {
    let (proxy, url, reached) = proxied_http().await;
    proxy.set(Fault::Hold { to: "wait for me", times: 1 }).await;
    let held = tokio::spawn(http_client().post(&url).body("wait for me").send());
    proxy.struck(1).await;
    let passed = http_client().post(&url).body("and I?").send().await.unwrap();
    assert_eq!(passed.text().await.unwrap(), "got 6 bytes");
    assert_eq!(reached.load(Ordering::SeqCst), 1);
    proxy.set(Fault::Pass).await;
    assert_eq!(held.await.unwrap().unwrap().text().await.unwrap(), "got 11 bytes");
}

#[tokio::test]
async fn a_forgotten_flow_moves_nothing_and_stays_open_while_new_connections_pass() {
    let (proxy, mut forgotten) = proxied_echo().await;
    echoes(&mut forgotten, b"before").await;
    proxy.forget_all();
    forgotten.write_all(b"lost").await.unwrap();
    let mut fresh = TcpStream::connect(proxy.addr()).await.unwrap();
    echoes(&mut fresh, b"after").await;
    let heard = tokio::time::timeout(Duration::from_millis(200), forgotten.read_u8()).await;
    assert!(heard.is_err(), "{heard:?}");
}
