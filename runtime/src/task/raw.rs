//! A task in memory: one allocation, counted in two ways.
//!
//! A task belongs to a thread. There it is held by [`Local`]s, which are counted without atomics: the
//! register of tasks, the run queue and the join handle each have one. All of them together are one
//! owner; each waker that was cloned, wherever it may be, is another. The memory goes with the last.
//! The future and its output never outlive the last [`Local`], so they are dropped on their thread.
//!
//! What other threads may touch of it: `table`, `remote`, `refs` and `woken`.

#![allow(unsafe_code, reason = "counts references to tasks of types that are erased")]

use std::cell::{Cell, UnsafeCell};
use std::future::Future;
use std::marker::PhantomData;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::task::{Context, Poll, RawWaker, RawWakerVTable, Waker};

use super::join::{JoinError, Output};
use super::remote::Remote;
use super::{Tasks, current};
use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use crate::wake;

/// In `refs`: there are [`Local`]s.
const LOCALS: usize = 1;
/// In `refs`: the task holds a count of its [`Remote`], because a waker may outlive the runtime.
const COUNTED: usize = 2;
/// In `refs`: one waker.
const WAKER: usize = 4;

/// In `state`: stands in the run queue.
const SCHEDULED: u8 = 1;
/// In `state`: is being polled or dropped.
const RUNNING: u8 = 2;
/// In `state`: is to end at its next turn.
const ABORTED: u8 = 4;
/// In `state`: has no future any more.
const OVER: u8 = 8;
/// In `state`: nobody will ask for the output.
const DETACHED: u8 = 16;
/// In `state`: the runtime started it, not its user.
const OWN: u8 = 32;

struct Header {
    table: &'static Table,
    /// Of the task's runtime; alive while that is or COUNTED is set.
    remote: NonNull<Remote>,
    refs: AtomicUsize,
    /// Stands in the remote queue.
    woken: AtomicBool,
    state: Cell<u8>,
    locals: Cell<u32>,
    /// Its place in the register.
    key: Cell<usize>,
    /// Who awaits the output.
    waiter: Cell<Option<Waker>>,
}

/// A task without its future.
#[repr(C)]
struct Joint<T> {
    header: Header,
    output: Cell<Option<Output<T>>>,
}

/// A task. A pointer to it is one to its `Joint` and to its `Header` too.
#[repr(C)]
struct Task<F: Future> {
    joint: Joint<F::Output>,
    future: UnsafeCell<Option<F>>,
}

/// What depends on the future's type.
struct Table {
    /// Polls the future, or ends it. True when it is over.
    run: unsafe fn(NonNull<Header>, abort: bool) -> bool,
    drop_output: unsafe fn(NonNull<Header>),
    free: unsafe fn(NonNull<Header>),
}

/// A task on its own thread.
pub(super) struct Local {
    header: NonNull<Header>,
}

impl Local {
    #[inline]
    fn header(&self) -> &Header {
        // SAFETY: the memory is there while a `Local` is (`refs` has LOCALS).
        unsafe { self.header.as_ref() }
    }

    #[inline]
    fn has(&self, flags: u8) -> bool {
        self.header().state.get() & flags != 0
    }

    #[inline]
    fn set(&self, flags: u8) {
        let state = &self.header().state;
        state.set(state.get() | flags);
    }

    #[inline]
    fn clear(&self, flags: u8) {
        let state = &self.header().state;
        state.set(state.get() & !flags);
    }

    pub(super) fn key(&self) -> usize {
        self.header().key.get()
    }

    #[inline]
    pub(super) fn set_key(&self, key: usize) {
        self.header().key.set(key);
    }

    pub(super) fn make_own(&self) {
        self.set(OWN);
    }

    pub(super) fn is_own(&self) -> bool {
        self.has(OWN)
    }

    pub(super) fn is_over(&self) -> bool {
        self.has(OVER)
    }

    /// To the run queue of its runtime's `tasks`, if it is not over and not there already.
    #[inline]
    pub(super) fn schedule(&self, tasks: &Tasks) {
        schedule(self.header, tasks);
    }

    /// Its turn, having left the run queue. True when that was its last.
    #[inline]
    pub(super) fn run(&self) -> bool {
        self.clear(SCHEDULED);
        self.advance(self.has(ABORTED))
    }

    /// Drops its future now. True unless it was over before.
    pub(super) fn end(&self) -> bool {
        self.advance(true)
    }

    #[inline]
    fn advance(&self, abort: bool) -> bool {
        if self.has(OVER | RUNNING) {
            return false;
        }
        self.set(RUNNING);
        // SAFETY: of the type that the table was made for; RUNNING keeps the future ours alone.
        let over = unsafe { (self.header().table.run)(self.header, abort) };
        self.clear(RUNNING);
        if over {
            self.set(OVER);
        }
        over
    }

    /// It is over: tells whom it concerns.
    #[inline]
    pub(super) fn tell(&self) {
        if self.has(DETACHED) {
            self.drop_output();
        } else if let Some(waiter) = self.header().waiter.take() {
            waiter.wake();
        }
    }

    fn drop_output(&self) {
        // SAFETY: of the type that the table was made for, on the task's thread.
        unsafe { (self.header().table.drop_output)(self.header) }
    }

    fn abort(&self) {
        if !self.is_over() {
            self.set(ABORTED);
            wake_by_ref(self.header);
        }
    }
}

impl Clone for Local {
    #[inline]
    fn clone(&self) -> Self {
        let locals = &self.header().locals;
        // More than 2^32 references of 8 bytes each do not come about by accident.
        locals.set(locals.get().checked_add(1).expect("too many references to a task"));
        Self { header: self.header }
    }
}

impl Drop for Local {
    #[inline]
    fn drop(&mut self) {
        let left = self.header().locals.get() - 1;
        self.header().locals.set(left);
        if left == 0 {
            release(self.header, LOCALS);
        }
    }
}

/// A task whose output is a `T`: what a join handle holds. Its drop detaches.
pub(super) struct Typed<T> {
    task: Local,
    output: PhantomData<T>,
}

impl<T> Typed<T> {
    /// A task that has not been scheduled yet, of the runtime that `remote` leads to.
    #[inline]
    pub(super) fn new<F>(future: F, remote: &Arc<Remote>) -> Self
    where
        F: Future<Output = T> + 'static,
    {
        // Allocated first, so that a large future moves only once.
        let task = Box::new_uninit();
        let task = Box::write(
            task,
            Task {
                joint: Joint {
                    header: Header {
                        table: &Table {
                            run: run::<F>,
                            drop_output: drop_output::<T>,
                            free: free::<F>,
                        },
                        remote: NonNull::from(&**remote),
                        refs: AtomicUsize::new(LOCALS),
                        woken: AtomicBool::new(false),
                        state: Cell::new(0),
                        locals: Cell::new(1),
                        key: Cell::new(0),
                        waiter: Cell::new(None),
                    },
                    output: Cell::new(None),
                },
                future: UnsafeCell::new(Some(future)),
            },
        );
        let header = NonNull::from(Box::leak(task)).cast();
        Self { task: Local { header }, output: PhantomData }
    }

    pub(super) fn local(&self) -> &Local {
        &self.task
    }

    pub(super) fn abort(&self) {
        self.task.abort();
    }

    pub(super) fn take_output(&self) -> Option<Output<T>> {
        // SAFETY: `Typed::new` made it of a future with this output.
        let joint = unsafe { self.task.header.cast::<Joint<T>>().as_ref() };
        joint.output.take()
    }

    /// Whom to wake when there is an output.
    pub(super) fn set_waiter(&self, waker: &Waker) {
        let waiter = &self.task.header().waiter;
        let old = waiter.take();
        let same = old.as_ref().is_some_and(|old| old.will_wake(waker));
        let (kept, dropped) = if same { (old, None) } else { (Some(waker.clone()), old) };
        waiter.set(kept);
        drop(dropped);
    }
}

impl<T> Drop for Typed<T> {
    fn drop(&mut self) {
        self.task.set(DETACHED);
        drop(self.task.header().waiter.take());
        let output = self.take_output();
        if let Some(Err(error)) = &output {
            wake::quietly(|| error.report());
        }
        // May panic, as a destructor may; `task` is dropped all the same.
        drop(output);
    }
}

/// # Safety
/// `header` is of a `Task<F>`, alive, on its thread, and nobody else is in here for it.
unsafe fn run<F: Future>(header: NonNull<Header>, abort: bool) -> bool {
    // SAFETY: the caller's promise.
    let task = unsafe { header.cast::<Task<F>>().as_ref() };
    let polled = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: the caller keeps others out. The future stays where it is, in the task's
        // allocation, until it is dropped there.
        match unsafe { &mut *task.future.get() } {
            Some(future) if !abort => {
                // SAFETY: borrows the task for the poll: it is not counted, and not dropped.
                let waker = ManuallyDrop::new(unsafe { Waker::from_raw(raw_waker(header)) });
                // SAFETY: as above.
                let future = unsafe { Pin::new_unchecked(future) };
                future.poll(&mut Context::from_waker(&waker)).map(Ok)
            }
            _ => Poll::Ready(Err(JoinError::aborted())),
        }
    }));
    let output = match polled {
        Ok(Poll::Pending) => return false,
        Ok(Poll::Ready(output)) => output,
        Err(panic) => Err(JoinError::panicked(panic)),
    };
    // SAFETY: as above. A destructor that panics has run as far as it gets, and so has not left
    // anything to be dropped again: the option is empty by then.
    let dropped = catch_unwind(AssertUnwindSafe(|| unsafe { *task.future.get() = None }));
    let output = dropped.map_err(JoinError::panicked).and(output);
    if let Err(error) = &output
        && task.joint.header.state.get() & DETACHED != 0
    {
        // A subscriber is somebody else's code, and this has to come to its end.
        wake::quietly(|| error.report());
    }
    task.joint.output.set(Some(output));
    true
}

/// # Safety
/// `header` is of a task with output `T`, alive, on its thread.
unsafe fn drop_output<T>(header: NonNull<Header>) {
    // SAFETY: the caller's promise.
    let output = unsafe { header.cast::<Joint<T>>().as_ref() }.output.take();
    // Nobody is there to hear of a destructor's panic.
    let _ = catch_unwind(AssertUnwindSafe(|| drop(output)));
}

/// Frees the memory, of which nothing is to be dropped any more.
///
/// # Safety
/// `header` is of a `Task<F>` that nobody refers to.
unsafe fn free<F: Future>(header: NonNull<Header>) {
    // SAFETY: from `Box::leak` in `Typed::new`; the caller had the last reference.
    drop(unsafe { Box::from_raw(header.cast::<MaybeUninit<Task<F>>>().as_ptr()) });
}

/// Gives up what `what` stands for: the locals, or a waker.
///
/// The last to go finds the future, the output and the waiter gone: the future before the register's
/// `Local` ([`Tasks::drop_all`] at the latest), the others with the handle or before.
#[inline]
fn release(header: NonNull<Header>, what: usize) {
    // SAFETY: what is given up holds the memory until then.
    let refs = unsafe { &header.as_ref().refs };
    // Where there is nothing else nobody can come to refer to it: no need to write that down.
    if refs.load(Ordering::Acquire) == what {
        // SAFETY: that was the last reference.
        unsafe { (header.as_ref().table.free)(header) };
    } else {
        release_shared(header, what);
    }
}

#[inline(never)]
fn release_shared(header: NonNull<Header>, what: usize) {
    // SAFETY: as above; nothing is touched afterwards unless this was the last reference.
    let refs = unsafe { header.as_ref() }.refs.fetch_sub(what, Ordering::AcqRel);
    if refs & !COUNTED == what {
        // SAFETY: it was. Once wakers were cloned the task has a count of its `Remote`.
        unsafe {
            let (remote, free) = (header.as_ref().remote, header.as_ref().table.free);
            free(header);
            if refs & COUNTED != 0 {
                Arc::decrement_strong_count(remote.as_ptr());
            }
        }
    }
}

/// A task that was woken on another thread, on its way home. Counts as a waker.
pub(super) struct Woken {
    header: NonNull<Header>,
}

// SAFETY: it is a waker: other threads may hold it and give it up.
unsafe impl Send for Woken {}

impl Woken {
    /// Comes home: on `tasks`'s thread the task is scheduled if it is not over.
    pub(super) fn arrive(self, tasks: &Tasks) {
        // SAFETY: the memory is there while this is.
        let header = unsafe { self.header.as_ref() };
        // Acquires what every wake-up before this moment has made known; a later one comes again.
        header.woken.swap(false, Ordering::AcqRel);
        if ptr::eq(Arc::as_ptr(tasks.remote()), header.remote.as_ptr()) {
            schedule(self.header, tasks);
        }
    }
}

impl Drop for Woken {
    fn drop(&mut self) {
        release(self.header, WAKER);
    }
}

/// To the run queue of its runtime's `tasks`, if it is not over and not there already.
#[inline]
fn schedule(header: NonNull<Header>, tasks: &Tasks) {
    // SAFETY: the caller holds the memory. This is the task's thread, as `tasks` are its runtime's and
    // do not leave theirs; so the cells are ours.
    let task = unsafe { header.as_ref() };
    let state = task.state.get();
    if state & (SCHEDULED | OVER) == 0 {
        task.state.set(state | SCHEDULED);
        // A task that is not over has a place in the register, so this is not the first.
        task.locals.set(task.locals.get() + 1);
        tasks.push(Local { header });
    }
}

static VTABLE: RawWakerVTable = RawWakerVTable::new(
    |data| clone_waker(from_data(data)),
    |data| {
        wake_by_ref(from_data(data));
        release(from_data(data), WAKER);
    },
    |data| wake_by_ref(from_data(data)),
    |data| release(from_data(data), WAKER),
);

fn raw_waker(header: NonNull<Header>) -> RawWaker {
    RawWaker::new(header.as_ptr().cast_const().cast(), &VTABLE)
}

fn from_data(data: *const ()) -> NonNull<Header> {
    // SAFETY: from `raw_waker`, whose pointer was not null.
    unsafe { NonNull::new_unchecked(data.cast_mut().cast()) }
}

fn clone_waker(header: NonNull<Header>) -> RawWaker {
    count_waker(header);
    raw_waker(header)
}

fn count_waker(header: NonNull<Header>) {
    // SAFETY: the caller has a waker, or the task is being polled: the memory is there.
    let task = unsafe { header.as_ref() };
    let refs = task.refs.fetch_add(WAKER, Ordering::Relaxed);
    if refs & COUNTED == 0 && task.refs.fetch_or(COUNTED, Ordering::Relaxed) & COUNTED == 0 {
        // SAFETY: nobody has counted it yet, so the runtime is still there: only it, or the poll
        // that it waits for, can have called us.
        unsafe { Arc::increment_strong_count(task.remote.as_ptr()) };
    }
}

fn wake_by_ref(header: NonNull<Header>) {
    // SAFETY: the caller has a waker or a `Local`, or the task is being polled.
    let task = unsafe { header.as_ref() };
    let is_home = current::with(|tasks| match tasks {
        Some(tasks) if ptr::eq(Arc::as_ptr(tasks.remote()), task.remote.as_ptr()) => {
            schedule(header, tasks);
            true
        }
        _ => false,
    });
    if !is_home && !task.woken.swap(true, Ordering::AcqRel) {
        count_waker(header);
        // SAFETY: counted by this task, which the caller keeps; see above.
        unsafe { task.remote.as_ref() }.push(Woken { header });
    }
}
