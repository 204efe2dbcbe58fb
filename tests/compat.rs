//! Libraries of other ecosystems on a Ringway connection: futures-io, tokio's traits, hyper.

use std::cell::Cell;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use futures_util::AsyncWriteExt as _;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use ringway::compat::PollStream;
use ringway::compat::hyper::{Executor, Timer};
use ringway::net::{TcpListener, TcpStream};
use ringway::{Backend, Builder, Runtime};

/// Runs `test` on every backend that works here.
fn on_each_backend(test: impl AsyncFn()) {
    for backend in [Backend::Uring, Backend::Hybrid, Backend::Epoll] {
        match Builder::new().backend(backend).build() {
            Ok(runtime) => Runtime::block_on(&runtime, test()),
            Err(error) => println!("SKIPPED: {error}"),
        }
    }
}

/// Both ends of a connection.
async fn pair() -> (PollStream, PollStream) {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (server, _) = listener.accept().await.unwrap();
    (client.into(), server.into())
}

/// Bytes that differ from place to place.
fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31 % 251) as u8).collect()
}

/// More than the sockets' buffers hold, so that both sides have to wait.
const MUCH: usize = 8 << 20;

#[test]
fn futures_io_moves_every_byte_and_sees_the_end() {
    on_each_backend(async || {
        let (mut client, mut server) = pair().await;
        let sending = ringway::spawn(async move {
            futures_util::AsyncWriteExt::write_all(&mut client, &bytes(MUCH)).await.unwrap();
            client.close().await.unwrap();
            let mut answer = String::new();
            futures_util::AsyncReadExt::read_to_string(&mut client, &mut answer).await.unwrap();
            answer
        });
        let (mut received, mut at) = (vec![0; MUCH + 1], 0);
        loop {
            match futures_util::AsyncReadExt::read(&mut server, &mut received[at..]).await.unwrap()
            {
                0 => break,
                n => at += n,
            }
        }
        assert!(received[..at] == bytes(MUCH));
        futures_util::AsyncWriteExt::write_all(&mut server, b"enough").await.unwrap();
        drop(server);
        assert_eq!(sending.await.unwrap(), "enough");
    });
}

#[test]
fn tokios_traits_move_every_byte_both_ways_at_once() {
    on_each_backend(async || {
        let (client, server) = pair().await;
        let (mut from, mut to) = tokio::io::split(server);
        let echo = ringway::spawn(async move {
            tokio::io::copy(&mut from, &mut to).await.unwrap();
            tokio::io::AsyncWriteExt::shutdown(&mut to).await.unwrap();
        });
        let (mut from, mut to) = tokio::io::split(client);
        let sending = ringway::spawn(async move {
            tokio::io::AsyncWriteExt::write_all(&mut to, &bytes(MUCH)).await.unwrap();
            tokio::io::AsyncWriteExt::shutdown(&mut to).await.unwrap();
        });
        let mut received = Vec::new();
        tokio::io::AsyncReadExt::read_to_end(&mut from, &mut received).await.unwrap();
        assert!(received == bytes(MUCH));
        sending.await.unwrap();
        echo.await.unwrap();
    });
}

#[test]
fn a_peer_that_resets_is_an_error_to_reader_and_writer() {
    on_each_backend(async || {
        let (client, mut server) = pair().await;
        let socket = TcpStream::connect(([127, 0, 0, 1], 1).into()).await;
        assert_eq!(socket.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        futures_util::AsyncWriteExt::write_all(&mut server, b"unread").await.unwrap();
        // Closing with bytes unread resets the connection.
        ringway::time::sleep(Duration::from_millis(20)).await;
        drop(client);
        let mut byte = [0];
        let read = futures_util::AsyncReadExt::read(&mut server, &mut byte).await;
        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        let written = futures_util::AsyncWriteExt::write(&mut server, b"x").await;
        assert_eq!(written.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    });
}

async fn double(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let body = request.into_body().collect().await.unwrap().to_bytes();
    Ok(Response::new(Full::new([&body[..], &body[..]].concat().into())))
}

#[test]
fn hyper_serves_and_asks_on_one_connection_kept_alive() {
    on_each_backend(async || {
        let (client, server) = pair().await;
        let serving = ringway::spawn(async move {
            hyper::server::conn::http1::Builder::new()
                .timer(Timer)
                .serve_connection(server, service_fn(double))
                .await
        });
        let (mut sender, connection) = hyper::client::conn::http1::handshake(client).await.unwrap();
        let connection = ringway::spawn(connection);
        for len in [0, 1, 100, 100_000] {
            let request = Request::post("/").body(Full::<Bytes>::from(bytes(len))).unwrap();
            let response = sender.send_request(request).await.unwrap();
            let body = response.into_body().collect().await.unwrap().to_bytes();
            assert!(body == [bytes(len), bytes(len)].concat());
        }
        drop(sender);
        connection.await.unwrap().unwrap();
        serving.await.unwrap().unwrap();
    });
}

#[test]
fn hypers_executor_and_timer_run_on_the_loop() {
    use hyper::rt::{Executor as _, Timer as _};
    on_each_backend(async || {
        let rung = Rc::new(Cell::new(false));
        let bell = rung.clone();
        Executor.execute(async move {
            Timer.sleep(Duration::from_millis(5)).await;
            bell.set(true);
        });
        assert!(!rung.get());
        ringway::time::sleep(Duration::from_millis(50)).await;
        assert!(rung.get());
    });
}
