//! Sees what others than this server do in the directories that its clients watch: programs on this machine,
//! an NFS server beside it.
//!
//! Each share has a [`Monitor`], a task that is told when watches begin and end and that tells them what it
//! sees. Fanotify sees a whole file system and who changes it, where the kernel and our rights allow that; else
//! inotify sees directories one by one, and what was our own doing is found out afterwards. Which it is, is
//! found by trying it. Nothing is watched while no client watches.

mod fanotify;
mod held;
mod inotify;
mod places;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_channel::{mpsc, oneshot};
use futures_util::StreamExt;
use futures_util::future::{Either, select};
use ringway::fs::{FilesystemEvent, WatchEvent};

use crate::state::{Seen, Share, WatchRequest, Watches};
use crate::vfs::{Handle, SharePath};
use crate::wire::change_notify::CompletionFilter;
use crate::wire::fscc::notify_info::NotifyAction;

use fanotify::Fanotify;
use inotify::Inotify;

/// How long to wait when the kernel's events cannot be read, which should not happen.
const ERROR_PAUSE: Duration = Duration::from_secs(1);

/// Whom a change of contents concerns, of which the kernel says no more.
const CONTENTS: CompletionFilter = CompletionFilter::SIZE.union(CompletionFilter::LAST_WRITE);

/// Whom any other change of a file concerns: of its owner, mode, times or extended attributes, among which are
/// what SMB calls attributes and when it was made.
const ATTRIBUTES: CompletionFilter = CompletionFilter::ATTRIBUTES
    .union(CompletionFilter::SECURITY)
    .union(CompletionFilter::EA)
    .union(CompletionFilter::CREATION)
    .union(CompletionFilter::LAST_WRITE)
    .union(CompletionFilter::LAST_ACCESS);

/// Sees what others change in one share.
#[derive(Debug)]
pub struct Monitor {
    share: Arc<Share>,
    watches: Arc<Watches>,
    requests: mpsc::UnboundedReceiver<WatchRequest>,
    fanotify: Option<Fanotify>,
    inotify: Inotify,
}

/// By what a share's changes are seen, and why by nothing better.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Source {
    /// Fanotify.
    Fanotify,
    /// Inotify, because fanotify is not to be had.
    Inotify {
        /// What was said to trying it.
        because: String,
    },
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fanotify => f.write_str("fanotify"),
            Self::Inotify { because } => write!(f, "inotify, because fanotify: {because}"),
        }
    }
}

/// How much is told at once: what the kernel's queue has, for four who watch the same. No watch keeps a
/// tenth of it.
const SIGHTS_MAX: usize = 64 * 1024;

/// What was seen, by the numbers of the watches that it concerns.
#[derive(Debug, Default)]
struct Sights {
    seen: BTreeMap<u64, Vec<Seen>>,
    count: usize,
    /// Something was missed.
    missed: bool,
}

impl Sights {
    fn tell(&mut self, watch: u64, action: NotifyAction, name: String, filter: CompletionFilter) {
        if self.count == SIGHTS_MAX {
            self.missed = true;
            return;
        }
        self.count += 1;
        self.seen.entry(watch).or_default().push(Seen { action, name, filter });
    }

    /// MS-FSA 2.1.5.15.11: in its directory a name becomes another, elsewhere it is removed and added. So it is
    /// for who can be told one of the two names only.
    fn tell_renamed(
        &mut self,
        watch: u64,
        from: Option<String>,
        to: Option<String>,
        stays: bool,
        filter: CompletionFilter,
    ) {
        let [gone, come] = match (&from, &to) {
            (Some(_), Some(_)) if stays => {
                [NotifyAction::RENAMED_OLD_NAME, NotifyAction::RENAMED_NEW_NAME]
            }
            _ => [NotifyAction::REMOVED, NotifyAction::ADDED],
        };
        if let Some(from) = from {
            self.tell(watch, gone, from, filter);
        }
        if let Some(to) = to {
            self.tell(watch, come, to, filter);
        }
    }
}

/// Whom it concerns that a name comes or goes.
fn name_filter(directory: bool) -> CompletionFilter {
    if directory { CompletionFilter::DIR_NAME } else { CompletionFilter::FILE_NAME }
}

enum Event {
    Request(Option<WatchRequest>),
    Fanotify(io::Result<Vec<FilesystemEvent>>),
    Inotify(io::Result<Vec<WatchEvent>>),
}

impl Monitor {
    /// Tries what there is; from then on the share's watches are told to this.
    pub async fn new(share: &Arc<Share>, watches: &Arc<Watches>) -> (Self, Source) {
        let (fanotify, source) = match fanotify(share).await {
            Ok(fanotify) => (Some(fanotify), Source::Fanotify),
            Err(error) => (None, Source::Inotify { because: error.to_string() }),
        };
        let (told, requests) = mpsc::unbounded();
        watches.attach(share.volume.tree_id(), told);
        let (share, watches) = (Arc::clone(share), Arc::clone(watches));
        let inotify = Inotify::new(&share, &watches);
        (Self { share, watches, requests, fanotify, inotify }, source)
    }

    /// Watches until nobody can ask for it any more.
    pub async fn run(mut self) {
        loop {
            match self.next().await {
                Event::Request(None) => return,
                Event::Request(Some(WatchRequest::Begin { id, directory, tree, seeing })) => {
                    // What has happened up to now is not for it.
                    self.catch_up().await;
                    self.begin(id, &directory, tree, seeing).await;
                }
                Event::Request(Some(WatchRequest::End(id))) => self.end(id),
                Event::Fanotify(Ok(events)) => self.see_fanotify(events, true).await,
                Event::Inotify(Ok(events)) => self.see_inotify(events).await,
                Event::Fanotify(Err(error)) | Event::Inotify(Err(error)) => {
                    tracing::warn!(share = self.share.name, %error, "reading changes made by others");
                    self.tell(Sights { missed: true, ..Sights::default() });
                    ringway::time::sleep(ERROR_PAUSE).await;
                }
            }
        }
    }

    /// Waits for what comes first. All of it may be dropped without a loss.
    async fn next(&mut self) -> Event {
        let fanotify = async {
            match &mut self.fanotify {
                Some(fanotify) => fanotify.next().await,
                None => std::future::pending().await,
            }
        };
        let (fanotify, inotify) = (pin!(fanotify), pin!(self.inotify.next()));
        match select(self.requests.next(), select(fanotify, inotify)).await {
            Either::Left((request, _)) => Event::Request(request),
            Either::Right((Either::Left((events, _)), _)) => Event::Fanotify(events),
            Either::Right((Either::Right((events, _)), _)) => Event::Inotify(events),
        }
    }

    async fn begin(
        &mut self,
        id: u64,
        directory: &Arc<Handle>,
        tree: bool,
        seeing: oneshot::Sender<()>,
    ) {
        if let Some(fanotify) = &mut self.fanotify
            && fanotify.covers(directory)
        {
            match fanotify.begin(id, directory, tree) {
                Ok(()) => {
                    // Who has gone does not need to know.
                    let _ = seeing.send(());
                    return;
                }
                Err(error) => {
                    let path = directory.path();
                    tracing::debug!(path, %error, "not watched by fanotify, but by inotify");
                }
            }
        }
        self.inotify.begin(id, directory, tree, seeing).await;
    }

    fn end(&mut self, id: u64) {
        if let Some(fanotify) = &mut self.fanotify {
            fanotify.end(id);
        }
        self.inotify.end(id);
    }

    /// Takes in what the kernel has to tell by now.
    async fn catch_up(&mut self) {
        let events = self.fanotify.as_ref().map_or_else(|| Ok(Vec::new()), Fanotify::take);
        self.see_fanotify(events.unwrap_or_default(), false).await;
        let events = self.inotify.take();
        self.see_inotify(events).await;
    }

    async fn see_fanotify(&mut self, events: Vec<FilesystemEvent>, gather: bool) {
        if let Some(fanotify) = &mut self.fanotify {
            let sights = fanotify.see(events, gather).await;
            self.tell(sights);
        }
    }

    async fn see_inotify(&mut self, events: Vec<WatchEvent>) {
        let sights = self.inotify.see(events).await;
        self.tell(sights);
    }

    fn tell(&self, sights: Sights) {
        let tree = self.share.volume.tree_id();
        self.watches.report_seen(tree, &sights.seen);
        if sights.missed {
            tracing::debug!(share = self.share.name, "changes made by others were missed");
            self.watches.report_missed(tree, |_| true);
        }
    }
}

async fn fanotify(share: &Share) -> io::Result<Fanotify> {
    let root = share.volume.look_up(None, &SharePath::default()).await;
    let device = root.unwrap_or_default().first().ok_or(io::ErrorKind::NotFound)?.dev;
    Fanotify::new(share.volume.root(), device, share.options.mapping)
}
