// Package replay answers requests from a tape: with the recorded bytes, in the
// recorded chunks, at the recorded times.
//
// # Time
//
// Every chunk has an absolute deadline, counted from the request that it
// answers, so being late once does not make what follows late. All streams wait
// in one [Scheduler]. How it wakes them was chosen by measuring, on two virtual
// processors that were otherwise idle, how long after its deadline a goroutine
// went on; deadlines were 1 to 39 ms apart in each stream:
//
//	                                        1 stream          200 streams
//	                                        p50     p99       p50     p99      cpu
//	time.Sleep                              631 µs  1111 µs   532 µs  1104 µs   7%
//	timerfd, read through the netpoller     149 µs   208 µs    45 µs   101 µs  41%
//	timerfd, read on a locked thread        156 µs   268 µs    58 µs   167 µs  31%
//	timerfd, read by a goroutine that
//	then yields its thread to the waiter     67 µs   179 µs    36 µs    89 µs  25%
//	the same 150 or 100 µs early, and the
//	waiter spins for the rest               0.1 µs    73 µs   0.1 µs    70 µs  56%
//
// The runtime's own timers end in epoll_wait, which counts in milliseconds. A
// locked thread has to hand each waiter to another thread, which must first be
// woken; yielding runs the waiter on the thread that is awake. The scheduler does
// that, and wakes early those who may spin: how early is learnt from how long
// wake-ups take, and how many may is limited to a twentieth of one processor, so
// that a stream alone is exact and a hundred together leave the time to the app.
//
// Running the writes on the scheduler's own goroutine would save the hand-over
// as well, but one client that does not read would then hold up all others.
//
// # Causes
//
// In a two-way stream, such as a WebSocket or a gRPC call that streams both
// ways, what the server says often answers what the client said. There a step
// of the server waits until the client has come as far as it had when the step
// was recorded, counted in messages where the protocol has them, else in bytes;
// the delay counts from that moment.
package replay
