// Package compare tells how an answer that streams in now differs from the one
// that was recorded, while it streams and always by value.
//
// A Comparer pulls the recorded side from its tape and is pushed the present
// side as it arrives. Both are decoded by content type into units (an SSE
// event, a line, a part) that are aligned within a bounded window, so that one
// missing event is one difference; what has no units is compared whole (JSON)
// or byte by byte. Whether an answer passes never depends on the alignment:
// it passes only if all units are equal, one by one. Memory is bounded by the
// window and the largest unit, whatever the length of the answer.
//
// What is equal:
//
//   - JSON by value: members in any order, numbers as exact decimals of any
//     size (1, 1.0 and 1e0 are equal; 2^53 and 2^53+1 are not), strings by
//     their code units, and a name that occurs twice only if it does so, with
//     the same values, on both sides.
//   - SSE events by event, data, id, retry, unknown fields and comments, in any
//     order of the fields within an event; data
//     that is a JSON object or array by value, all else exactly. "event:
//     message" and no event field differ, since not every client is a browser.
//   - NDJSON line by line, blank lines, a missing last line end and JSON's own
//     white space around a record aside.
//   - multipart part by part: headers, body by the part's content type,
//     preamble and epilogue. The boundary is framing, not value.
//   - text by line, its line end included. Everything else by bytes.
//   - Headers and trailers whatever the order of different names; the values of
//     one name exactly, in order, never folded. Where the recorded value
//     was redacted, the present one is redacted by the same rules; what was
//     redacted by hand stands for any text but an empty one. Without any rule, Date, Age and the fields of the
//     connection (Connection, Keep-Alive, Proxy-Connection, Transfer-Encoding)
//     are ignored, and Content-Length unless the request was HEAD, because the
//     body itself is compared.
//
// An answer that failed before its head when recorded has to fail in the same way.
//
// Positions of units count from 1, byte offsets from 0.
package compare
