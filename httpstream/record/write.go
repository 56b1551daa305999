package record

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"hash"

	"github.com/wiretape/wiretape/httpstream"
	"github.com/wiretape/wiretape/httpstream/tape"
)

// written is what the writer goroutine, and nobody else, knows of an exchange.
type written struct {
	sum    hash.Hash // of the client lines; nil before the first
	size   int64
	url    string // redacted
	lines  int64  // that were emitted to the stream
	failed bool   // emit failed: a stream with a hole would be worse than a short one
	// Of a WebSocket, else nil: the bytes of both directions become lines of their own.
	socket *tape.Conversation
	frames int   // the server's, and what is none
	veil   *veil // nil where bodies are kept as they are
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
		if r.opt.Flush != nil {
			r.failed(nil, r.opt.Flush())
		}
	}
}

func (r *Recorder) writeItem(it *item) {
	x := it.x
	if it.note != nil {
		r.failed(nil, r.writeNote(*it.note))
		return
	}
	if it.event != nil {
		r.endLines(it) // before the body's size and hash are known
	}
	r.redact(it)
	if !x.w.failed {
		r.failed(x, r.writeExchange(it))
	}
	if it.event != nil && r.opt.OnExchange != nil {
		it.event.URL, it.event.Failed = x.w.url, r.opt.Redact.Text(it.event.Failed)
		r.opt.OnExchange(*it.event)
	}
}

func (r *Recorder) writeNote(n tape.Note) error {
	n.Problem = r.opt.Redact.Text(n.Problem)
	if n.Opaque != nil {
		opaque := *n.Opaque
		opaque.Reason = r.opt.Redact.Text(opaque.Reason)
		n.Opaque = &opaque
	}
	rec, err := n.Record()
	if err != nil {
		return err
	}
	return r.emit(rec)
}

// redact takes the secrets out of an item, and learns from it what is to be known of
// its exchange.
func (r *Recorder) redact(it *item) {
	x := it.x
	if it.exchange != nil {
		r.redactBodies(it)
		x.w.bodyOf(&it.exchange.Request.Body)
		r.opt.Redact.Exchange(it.exchange)
		x.w.url = it.exchange.Request.URL
		if x.w.socket == nil && it.exchange.IsWebSocket() {
			x.w.socket = tape.ConversationOf(it.exchange)
		}
	}
	if it.end != nil {
		it.end.End.Trailer = r.opt.Redact.Fields(it.end.End.Trailer)
		it.end.End.Detail = r.opt.Redact.Text(it.end.End.Detail)
	}
}

// redactBodies makes what is known of the bodies fit for a tape.
func (r *Recorder) redactBodies(it *item) {
	finder, with := r.opt.Redact.Bodies()
	if finder == nil {
		return
	}
	w := &it.x.w
	if w.veil == nil {
		w.veil = &veil{finder: finder, with: with, emit: func(l *tape.Line) error { return r.emitLine(it.x, l, false) }}
	}
	w.veil.heads(it.exchange)
	if it.asked {
		// The size and the hash of a body in the stream are those of all of it.
		r.failed(it.x, w.veil.endOf(&w.veil.client))
	}
	if b := &it.exchange.Request.Body; len(b.Data) > 0 && w.veil.client.read {
		b.Data = bytes.Clone(b.Data) // it may be written once more
		finder.Replace(w.veil.client.text, with, b.Data)
	}
}

func (r *Recorder) writeExchange(it *item) error {
	if it.event != nil && !it.streams {
		return r.writeWhole(it)
	}
	if it.exchange != nil {
		if it.streams {
			it.exchange.Stream = tape.StreamOf(it.exchange)
		}
		rec, err := r.encoder.File(it.x.id, it.exchange)
		if err == nil {
			err = r.emit(rec)
		}
		if err != nil {
			return err
		}
	}
	if it.line != nil {
		if err := r.writeLine(it.x, it.line); err != nil {
			return err
		}
	}
	if it.end != nil {
		return r.emitLine(it.x, it.end, true)
	}
	return nil
}

// writeWhole emits an exchange that has no stream file, and is over.
func (r *Recorder) writeWhole(it *item) error {
	var lines [2]*tape.Line
	n := 0
	for _, l := range []*tape.Line{it.line, it.end} {
		if l != nil {
			lines[n] = l
			if w := &it.x.w; w.veil != nil && w.veil.side(l).read && len(l.Data) > 0 {
				w.veil.finder.Replace(w.veil.side(l).text, w.veil.with, l.Data)
			}
			n++
		}
	}
	records, err := r.encoder.Whole(it.x.id, it.exchange, lines[:n]...)
	for _, rec := range records {
		if err == nil {
			err = r.emit(rec)
		}
	}
	return err
}

// writeLine emits a line with bytes, or what it ends of a WebSocket.
func (r *Recorder) writeLine(x *exchange, l *tape.Line) error {
	switch v := x.w.veil; {
	case x.w.socket != nil:
		return x.w.socket.Add(l, r.frameTaker(x))
	case v != nil:
		return v.add(l)
	}
	return r.emitLine(x, l, false)
}

// frameTaker takes the lines of a WebSocket's frames.
func (r *Recorder) frameTaker(x *exchange) func(*tape.Line) error {
	return func(l *tape.Line) error {
		if !l.FromClient && !l.Rest {
			x.w.frames++
		}
		if x.w.veil != nil {
			return x.w.veil.addFrame(l)
		}
		return r.emitLine(x, l, false)
	}
}

// endLines emits what is held of the lines of an exchange that is over.
func (r *Recorder) endLines(it *item) {
	w := &it.x.w
	if w.socket != nil {
		if !w.failed {
			r.failed(it.x, w.socket.Close(r.frameTaker(it.x)))
		}
		it.event.Chunks = w.frames
		if it.end != nil && it.end.End.How == httpstream.Open && w.socket.Ended() {
			// Nothing but the connection's end was still to come, for which either side
			// may have waited for long.
			it.end.End.How, it.event.How = httpstream.EOF, httpstream.EOF
		}
	}
	if w.veil != nil && !w.failed {
		r.failed(it.x, w.veil.close())
	}
}

func (r *Recorder) emitLine(x *exchange, l *tape.Line, last bool) error {
	if l.FromClient {
		x.w.body(l.Data)
	}
	x.w.lines++
	rec := r.encoder.Lines(x.id, x.w.lines, l)
	rec.Last = last
	return r.emit(rec)
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
	if rec, err := (tape.Note{Problem: "not everything could be written: " + err.Error()}).Record(); err == nil {
		_ = r.emit(rec)
	}
}

// body counts body bytes that go to the stream.
func (w *written) body(data []byte) {
	if w.sum == nil {
		w.sum = sha256.New()
	}
	w.sum.Write(data)
	w.size += int64(len(data))
}

// bodyOf fills in size and hash of a body that went to the stream so far.
func (w *written) bodyOf(b *tape.Body) {
	if !b.InStream {
		return
	}
	w.body(nil)
	b.Size = w.size
	b.SHA256 = hex.EncodeToString(w.sum.Sum(nil))
}
