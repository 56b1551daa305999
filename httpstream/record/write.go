package record

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"time"

	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/tape"
)

// written is what the writer goroutine, and nobody else, knows of an exchange.
type written struct {
	sum    hash.Hash // of the client lines; nil before the first
	size   int64
	sha256 string // of an inline body, once it is known
	lines  int64  // that were emitted
	failed bool   // emit failed: a stream with a hole would be worse than a short one
	// Of a WebSocket, the bytes of both directions become lines of their own.
	client, server *tape.Frames
}

// write is the writer goroutine.
func (r *Recorder) write() {
	defer close(r.done)
	var batch []*item
	for {
		if batch = r.queue.take(batch); batch == nil {
			return
		}
		for i, it := range batch {
			if !r.queue.isAborted() {
				r.writeItem(it)
			}
			r.queue.release(it)
			batch[i] = nil
		}
	}
}

func (r *Recorder) writeItem(it *item) {
	x := it.x
	if it.record != nil {
		rec := *it.record
		rec.Problem = r.opt.Redact.Text(rec.Problem)
		if rec.Opaque != nil {
			opaque := *rec.Opaque
			opaque.Reason = r.opt.Redact.Text(opaque.Reason)
			rec.Opaque = &opaque
		}
		r.failed(nil, r.emit(rec))
		return
	}
	if it.exchange != nil {
		x.w.bodyOf(&it.exchange.Request.Body)
		r.opt.Redact.Exchange(it.exchange)
		if it.event != nil {
			it.event.URL, it.event.Failed = it.exchange.Request.URL, it.exchange.Failed
		}
		if x.w.client == nil && it.exchange.IsWebSocket() {
			x.w.client, x.w.server = tape.FramesOf(it.exchange, true), tape.FramesOf(it.exchange, false)
		}
	}
	if it.line != nil && it.line.End != nil {
		it.line.End.Trailer = r.opt.Redact.Fields(it.line.End.Trailer)
		it.line.End.Detail = r.opt.Redact.Text(it.line.End.Detail)
	}
	if it.exchange != nil && !x.w.failed {
		r.failed(x, r.emit(tape.Record{ID: x.id, Exchange: it.exchange}))
	}
	if it.line != nil && !x.w.failed {
		r.failed(x, r.writeLine(x, it.line))
	}
	if it.event == nil {
		return
	}
	if !x.w.failed {
		r.failed(x, r.emit(tape.Record{ID: x.id, Done: true}))
	}
	if r.opt.OnExchange != nil {
		r.opt.OnExchange(*it.event)
	}
}

// writeLine emits a line, or what it holds of a WebSocket.
func (r *Recorder) writeLine(x *exchange, l *tape.Line) error {
	emit := func(l *tape.Line) error {
		if l.FromClient {
			x.w.body(l.Data)
		}
		x.w.lines++
		return r.emit(tape.Record{ID: x.id, Nth: x.w.lines, Line: l})
	}
	switch {
	case x.w.client == nil:
	case l.End != nil:
		if err := errors.Join(x.w.client.Close(emit), x.w.server.Close(emit)); err != nil {
			return err
		}
	case l.FromClient:
		return x.w.client.Add(l, emit)
	default:
		return x.w.server.Add(l, emit)
	}
	return emit(l)
}

// failed keeps the first error of emit, and marks the recording incomplete once.
func (r *Recorder) failed(x *exchange, err error) {
	if err == nil {
		return
	}
	if x != nil {
		x.w.failed = true
	}
	if r.err != nil {
		return
	}
	r.err = err
	if r.opt.OnError != nil {
		r.opt.OnError(err)
	}
	// Where emit fails for all records, this one is lost too; the manifest of a
	// recording that was not closed says that it is incomplete all the same.
	_ = r.emit(tape.Record{Problem: "not everything could be written: " + err.Error()})
}

// body counts body bytes that go to the stream.
func (w *written) body(data []byte) {
	if w.sum == nil {
		w.sum = sha256.New()
	}
	w.sum.Write(data)
	w.size += int64(len(data))
}

// bodyOf fills in size and hash: of what went to the stream so far, or of the inline body.
func (w *written) bodyOf(b *tape.Body) {
	switch {
	case b.InStream:
		w.body(nil)
		b.Size = w.size
		b.SHA256 = hex.EncodeToString(w.sum.Sum(nil))
	case len(b.Data) > 0:
		if w.sha256 == "" {
			w.sha256 = tape.HashBody(b.Data)
		}
		b.Size = int64(len(b.Data))
		b.SHA256 = w.sha256
	}
}

// pushChunk copies a chunk into the queue.
func (x *exchange) pushChunk(at time.Duration, c httpstream.Chunk, fromClient bool) {
	data, pooled := x.r.queue.copy(c.Data)
	c.Data = data
	x.pushLine(&tape.Line{At: at, FromClient: fromClient, Chunk: c}, pooled)
}

// pushLine queues a line whose data is nobody else's any more.
func (x *exchange) pushLine(l *tape.Line, pooled *[]byte) {
	cost := int64(itemCost + cap(l.Data))
	x.r.queue.push(&item{x: x, line: l, pooled: pooled, cost: cost})
}
