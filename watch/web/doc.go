// Package web shows a training run as a web page, and answers to programs:
// everything is in the binary, nothing is asked of the network.
//
//	/                     the page
//	/api/session          who asks: may this client use the buttons?
//	/api/state            where the run stands (watch.State, without the configuration)
//	/api/series?since=N   its course after iteration N (watch.Series); -1 for all
//	/api/pictures         what /pictures/… has
//	/api/runs             runs of the same folder; /api/runs/series?run=NAME is one
//	/api/files            files and plots of the run: below /files/ and /plots/
//	/api/pause …/resume …/snapshot …/stop   the buttons: POST
//	/data/CHART.json .csv the figures of one chart
//	/data/config.prototxt the configuration in effect
//	/metrics              for Prometheus
//	/healthz              200, or 503 if the run failed
//
// # Who may do what
//
// Without a token, whoever reaches the port may look, and only programs on the
// same machine may use the buttons. Against web pages of other origins that a
// local browser shows, a request must name a host that cannot be rebound (an IP
// address, localhost, this machine's name or the one listened at); a button
// must in addition be pressed by POST, with a header that other origins cannot
// set, and with no Origin but ours. With a token, everything but /healthz and
// the page's own files needs it, as bearer or as the cookie that the page's
// form sets, and with it the buttons work from anywhere.
//
// # Never in the way of training
//
// Handlers read the immutable snapshots of a [Source], one encodes at a time
// and equal answers are encoded once for all clients. Plots are drawn one at a
// time, too, in a queue of their own that a client leaves when it goes away, and
// each only once for a version of the run's course. Answers are never
// streams: a client polls. Connections are limited in number; one that does
// not take its answer in time is dropped, and an idle one makes room for a new
// one. The training goroutine never waits for any of this.
package web
