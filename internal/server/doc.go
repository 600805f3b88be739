// Package server is the central receiver: it takes the objects of sealed
// batches over HTTP, verifies them and stores them write-once under the archive
// layout.
//
// The promise it keeps: an object gets its name in the store only after it was
// verified against everything stored before it of the same log (signature,
// ratchet, chain, digest, root), and is answered with success only after file
// and name are durable. A name never gets other bytes. An agent writes into its
// own log and nowhere else.
//
// The store is the truth. What the server keeps in memory of a log is read back
// from the stored manifests at first use and brought up to date before each
// request, so a kill at any point, a restart and a second server over the same
// directory change nothing.
//
// Beside the store lies the state directory: the enrolled agents, the files
// that are being received, and the evidence of forks. It is never inside the
// store, so that the archive holds nothing but the archive.
//
// Answers, beside those of the central protocol: 400 to a
// body that was cut or changed on the way, which is worth another try; 404 and
// 405 to what is no object and no method; 411 and 428 without Content-Length and
// If-None-Match: *. A problem document beside 424 has the member "next", the
// batch that the log goes on with. 413 and 422 are refusals for good: the server
// remembers whose payload it refused so, and takes the manifest without it.
// Faults of its own it answers with 503 and 507, never with a refusal.
package server
