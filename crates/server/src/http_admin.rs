//! The admin API on HTTP: takes heads and bodies off connections and puts answers on them. What is done and
//! refused is decided in [`admin`].

use admin::{Answer, Api, Asked, Call, Claims, Head, api};
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{self, HeaderMap, HeaderName};
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderValue, StatusCode, Uri};
use axum::response::Response;
use broker::memory::Held;
use bytes::Bytes;
use gateway::Counters;
use hyper::body::{Body as _, Frame, SizeHint};
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// Answers are handed to the connection in pieces of this size, and room for them is held until the last one
/// was taken.
const PIECE_BYTES: usize = 64 * model::limit::KIB;

/// What every request is answered with.
pub(crate) struct Admin {
    pub(crate) api: Api,
    pub(crate) counters: Arc<Counters>,
}

pub(crate) async fn handle(State(admin): State<Arc<Admin>>, request: Request) -> Response {
    let mut asked = Asked::now();
    let (parts, body) = request.into_parts();
    let (answer, heard_out) = match admin.api.begin(&head(&parts, &body)) {
        Ok(call) => {
            asked = asked.known(&call);
            match receive(&admin.api, &call, body).await {
                Ok((body, room)) => {
                    asked = asked.complete(body.len());
                    (admin.api.answer(call, body, room).await, true)
                }
                Err(answer) => (answer, false),
            }
        }
        Err(answer) => (answer, body.is_end_stream()),
    };
    admin.api.note(asked, &answer);
    admin.respond(answer, heard_out)
}

impl Admin {
    /// The answer to a request for something else on this listener, when whoever asks may not.
    pub(crate) fn refusal(&self, request: &Request) -> Option<Response> {
        let refused = self.api.admit(&claims(request.uri(), request.headers())).err()?;
        Some(self.respond(refused, request.body().is_end_stream()))
    }

    /// The answer as it goes out, with a line in the log when the client sent what makes no sense.
    fn respond(&self, answer: Answer, heard_out: bool) -> Response {
        if let Some(last) = &answer.malformed
            && let Some(times) = self.counters.note_rejections(1)
        {
            tracing::warn!(listener = crate::http::NAME, times, last, "refused what a client sent");
        }
        let mut response = respond(answer);
        if !heard_out {
            // What was not read of the request stands in the way of the next one.
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

fn head<'a>(parts: &'a Parts, body: &Body) -> Head<'a> {
    Head {
        method: parts.method.as_str(),
        path: parts.uri.path(),
        query: parts.uri.query().unwrap_or_default(),
        content_type: header(&parts.headers, header::CONTENT_TYPE),
        has_body: !body.is_end_stream(),
        claims: claims(&parts.uri, &parts.headers),
    }
}

/// Where a request says that it comes from and goes. A host in its target, as proxies are asked, replaces what
/// the header says (RFC 9112, 3.2.2).
fn claims<'a>(target: &'a Uri, headers: &'a HeaderMap) -> Claims<'a> {
    Claims {
        host: target.authority().map(Authority::as_str).or_else(|| header(headers, header::HOST)),
        origin: header(headers, header::ORIGIN),
        fetch_site: header(headers, HeaderName::from_static("sec-fetch-site")),
    }
}

/// A header's value. One that is no text, or not the only one, is none of those that are allowed.
fn header(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok();
    Some(value.filter(|_| values.next().is_none()).unwrap_or("?"))
}

/// Takes the body.
async fn receive(api: &Api, call: &Call, body: Body) -> Result<(Bytes, Held), Answer> {
    let most = call.body_bytes_max();
    let size = body.size_hint();
    if size.lower() > most as u64 {
        return Err(api::body_too_large(most));
    }
    // Without a length it may be as long as it may be.
    let expected = size.upper().map_or(most, |upper| most.min(upper as usize));
    let room = api.room(expected).await?;
    match tokio::time::timeout(BODY_TIMEOUT, collect(body, most)).await {
        Ok(body) => Ok((body?, room)),
        Err(_) => Err(api::body_timeout(BODY_TIMEOUT)),
    }
}

async fn collect(body: Body, most: usize) -> Result<Bytes, Answer> {
    let mut body = pin!(body);
    let mut bytes = Vec::new();
    while let Some(frame) = poll_fn(|context| body.as_mut().poll_frame(context)).await {
        let frame = frame.map_err(|_| api::body_broken())?;
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() + data.len() > most {
            return Err(api::body_too_large(most));
        }
        bytes.extend_from_slice(&data);
    }
    Ok(Bytes::from(bytes))
}

fn respond(answer: Answer) -> Response {
    let Answer { status, body, headers, room, .. } = answer;
    let has_body = !body.is_empty();
    let mut response = Response::new(Body::new(Sent { rest: body, _room: room }));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let all = response.headers_mut();
    if has_body {
        all.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    // What is told is of this moment, and nothing to be guessed at.
    all.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    all.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    for (name, value) in headers {
        if let Ok(value) = HeaderValue::from_str(&value) {
            all.insert(HeaderName::from_static(name), value);
        }
    }
    response
}

/// A body, and the room that it takes.
struct Sent {
    rest: Bytes,
    _room: Option<Held>,
}

impl hyper::body::Body for Sent {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let length = self.rest.len().min(PIECE_BYTES);
        Poll::Ready((length > 0).then(|| Ok(Frame::data(self.rest.split_to(length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}
