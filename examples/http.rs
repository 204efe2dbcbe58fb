//! hyper on Ringway: `cargo run --example http -- [ADDRESS]`, then `curl -d hello http://127.0.0.1:8000/echo`.
//!
//! `/` says hello, `/echo` answers what it is sent, `/metrics` tells what the runtime did, and by which
//! way. hyper needs no other runtime: it gets connections, a clock and nothing else. It ends on SIGINT
//! or SIGTERM, when the requests under way have been answered.

use std::convert::Infallible;
use std::env;
use std::error::Error;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use ringway::Builder;
use ringway::cancel::CancelToken;
use ringway::compat::PollStream;
use ringway::compat::hyper::Timer;
use ringway::net::{TcpListener, TcpStream};
use ringway::signal::Signals;

/// The longest body that is taken.
const BODY_MAX: usize = 1 << 20;

/// How long to wait when no connection can be taken, for lack of descriptors most likely.
const PAUSE: Duration = Duration::from_millis(100);

fn main() -> Result<(), Box<dyn Error>> {
    let addr = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8000".to_owned()).parse()?;
    let runtime = Builder::new().build()?;
    println!("{}", runtime.features());
    runtime.block_on(async {
        let stop = CancelToken::new();
        let mut signals = Signals::new(&[libc::SIGINT, libc::SIGTERM])?;
        let on_signal = stop.clone();
        drop(ringway::spawn(async move {
            let _ = signals.next().await;
            on_signal.cancel();
        }));
        serve(addr, stop).await
    })?;
    Ok(())
}

async fn serve(addr: SocketAddr, stop: CancelToken) -> io::Result<()> {
    let listener = TcpListener::bind(addr)?;
    println!("listening on {}", listener.local_addr()?);
    // Each connection holds one; when the last is gone, so is the work.
    let connections = Rc::new(());
    while !stop.is_cancelled() {
        match stop.run(listener.accept()).await {
            Ok((stream, _)) => {
                let (stop, connected) = (stop.clone(), connections.clone());
                drop(ringway::spawn(async move {
                    if let Err(error) = converse(stream, stop).await {
                        eprintln!("connection: {error}");
                    }
                    drop(connected);
                }));
            }
            Err(_) if stop.is_cancelled() => break,
            Err(error) => {
                eprintln!("accept: {error}");
                ringway::time::sleep(PAUSE).await;
            }
        }
    }
    while Rc::strong_count(&connections) > 1 {
        ringway::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

async fn converse(stream: TcpStream, stop: CancelToken) -> hyper::Result<()> {
    let connection = http1::Builder::new()
        .timer(Timer)
        .header_read_timeout(Duration::from_secs(30))
        .serve_connection(PollStream::from(stream), service_fn(answer));
    let (mut connection, mut stopped) = (pin!(connection), pin!(stop.cancelled()));
    let mut running = true;
    poll_fn(|cx| {
        if running && stopped.as_mut().poll(cx).is_ready() {
            running = false;
            connection.as_mut().graceful_shutdown();
        }
        connection.as_mut().poll(cx)
    })
    .await
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (status, body) = match request.uri().path() {
        "/" => (StatusCode::OK, Bytes::from("hello\n")),
        "/echo" => match Limited::new(request.into_body(), BODY_MAX).collect().await {
            Ok(body) => (StatusCode::OK, body.to_bytes()),
            Err(_) => (StatusCode::PAYLOAD_TOO_LARGE, Bytes::new()),
        },
        "/metrics" => (StatusCode::OK, ringway::metrics().to_string().into()),
        _ => (StatusCode::NOT_FOUND, Bytes::new()),
    };
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    Ok(response)
}
