//! Sampling with a key-value cache: the prompt of a group is computed once, its samples are decoded together.

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::attention::{self, QUERIES, Segment, attend, attend_together, grow, put_key};
use super::choose::{Chosen, choose};
use super::experts::{ExpertsBuffers, ExpertsTape};
use super::layout::FeedForward;
use super::net::{BLOCK, Net};
use super::rows::Place;
use super::simd::{LANES, padded};
use super::threads::{Scratch, Threads, with_scratch};
use crate::{Sample, SampleRequest};
use lapidary_core::{Kind, Problem, Ragged, Result, StopReason, UNROUTED};

/// Sequences that one thread decodes together; beyond this a step gains nothing and its cache grows.
pub(crate) const DECODED_TOGETHER: usize = 64;

/// Keys and values of consecutive positions: per layer and key head, packed keys and rows of values.
struct Cache {
    capacity: usize,
    keys: Vec<f32>,
    values: Vec<f32>,
}

impl Net<'_> {
    fn cache(&self, positions: usize) -> Cache {
        let capacity = padded(positions.max(1));
        let heads = self.c.layers * self.c.kv_heads;
        let keys = vec![0.0; heads * capacity * self.c.head_width];
        Cache { capacity, keys, values: vec![0.0; heads * capacity * self.w.head] }
    }

    /// Where the keys and the values of a key head lie in a cache.
    fn places(&self, cache: &Cache, layer: usize, kv: usize) -> (Range<usize>, Range<usize>) {
        let head = layer * self.c.kv_heads + kv;
        let (k, v) = (cache.capacity * self.c.head_width, cache.capacity * self.w.head);
        (head * k..(head + 1) * k, head * v..(head + 1) * v)
    }

    /// Stores k and v of a row of qkv as position `at` of a cache.
    fn remember(&self, cache: &mut Cache, layer: usize, at: usize, line: &[f32]) {
        let d = self.c.head_width;
        for kv in 0..self.c.kv_heads {
            let (keys, values) = self.places(cache, layer, kv);
            put_key(&mut cache.keys[keys], d, at, &line[self.w.q + kv * d..][..d]);
            let value = &line[self.w.q + self.w.kv + kv * d..][..d];
            cache.values[values][at * self.w.head..][..d].copy_from_slice(value);
        }
    }

    fn segment<'c>(&self, cache: &'c Cache, layer: usize, kv: usize, count: usize) -> Segment<'c> {
        let (keys, values) = self.places(cache, layer, kv);
        Segment { count, keys: &cache.keys[keys], values: &cache.values[values] }
    }
}

/// A request and the range of its samples that one thread takes.
struct Job {
    request: usize,
    samples: Range<usize>,
}

/// A prompt that has been computed.
struct Prompt {
    cache: Cache,
    tokens: usize,
    /// Logits after its last token.
    logits: Vec<f32>,
    /// Experts that its tokens used.
    routing: Vec<u16>,
}

/// A sample in the making.
struct Active<'a> {
    request: &'a SampleRequest,
    request_index: usize,
    sample: usize,
    prompt: std::rc::Rc<Prompt>,
    /// Positions after the prompt's whole panels.
    own: Cache,
    out: Sample,
    limit: usize,
}

impl Active<'_> {
    /// Positions that are read from the shared prompt: its whole panels.
    fn shared(&self) -> usize {
        self.prompt.tokens / LANES * LANES
    }

    /// Writes down the experts of one more token, where that was asked for.
    fn routed(&mut self, experts: &[u16]) {
        if let Some(routing) = &mut self.out.routing {
            routing.extend_from_slice(experts);
        }
    }
}

/// Samples every request; see [`crate::Engine::sample`].
pub(crate) fn sample(
    net: Net<'_>,
    threads: &Threads,
    requests: &[SampleRequest],
    progress: &(dyn Fn(usize) + Sync),
) -> Result<Vec<Vec<Sample>>> {
    for request in requests {
        check(&net, request)?;
    }
    // A group stays whole where there are enough of them to keep every thread busy; otherwise it is cut, and each thread
    // computes the prompt.
    let total: usize = requests.iter().map(|request| request.samples).sum();
    let alone = total < threads.count();
    let parts = if alone || requests.len() >= 2 * threads.count() { 1 } else { threads.count() };
    let mut jobs = Vec::new();
    for (index, request) in requests.iter().enumerate() {
        let each = request.samples.div_ceil(parts).max(1);
        let starts = (0..request.samples).step_by(each);
        jobs.extend(starts.map(|s| Job { request: index, samples: s..(s + each).min(request.samples) }));
    }
    // With fewer samples than threads, one worker decodes them all and its products are split over the threads.
    let (workers, net) = match alone {
        true => (1, Net { split: Some(threads), ..net }),
        false => (threads.count(), net),
    };
    let next = AtomicUsize::new(0);
    let results: Mutex<Vec<Vec<Option<Sample>>>> = Mutex::new(requests.iter().map(|r| vec![None; r.samples]).collect());
    let failure = Mutex::new(None);
    threads.each(workers, |_| {
        let worker = Worker { net, requests, jobs: &jobs, next: &next, progress };
        let finished = |request: usize, sample: usize, out: Sample| {
            if let Ok(mut results) = results.lock() {
                results[request][sample] = Some(out);
            }
        };
        if let Err(problem) = worker.run(finished) {
            next.store(jobs.len(), Ordering::Relaxed);
            if let Ok(mut failure) = failure.lock() {
                failure.get_or_insert(problem);
            }
        }
    });
    if let Some(problem) = failure.into_inner().unwrap_or(None) {
        return Err(problem);
    }
    let results = results.into_inner().unwrap_or_default();
    Ok(results.into_iter().map(|group| group.into_iter().flatten().collect()).collect())
}

fn check(net: &Net<'_>, request: &SampleRequest) -> Result<()> {
    let length = request.prompt.len();
    if length == 0 {
        return Err(Problem::new(Kind::Data, "N003", "a prompt without tokens cannot be continued")
            .hint("give at least one token, for example the start token"));
    }
    if length >= net.c.context {
        return Err(Problem::new(
            Kind::Data,
            "N004",
            format!("a prompt of {length} tokens leaves no room in a context of {} tokens", net.c.context),
        )
        .hint("shorten the prompt or use a model with a longer context"));
    }
    if let Some(id) = request.prompt.iter().find(|id| **id as usize >= net.c.vocabulary) {
        return Err(super::outside_vocabulary(*id, net.c.vocabulary));
    }
    Ok(())
}

struct Worker<'a> {
    net: Net<'a>,
    requests: &'a [SampleRequest],
    jobs: &'a [Job],
    next: &'a AtomicUsize,
    progress: &'a (dyn Fn(usize) + Sync),
}

impl<'a> Worker<'a> {
    /// Takes jobs until none is left.
    fn run(&self, finished: impl Fn(usize, usize, Sample)) -> Result<()> {
        let mut waiting: Vec<Active<'a>> = Vec::new();
        let mut active: Vec<Active<'a>> = Vec::new();
        let mut buffers = Buffers::default();
        loop {
            while active.len() < DECODED_TOGETHER {
                if waiting.is_empty() && !self.take(&mut waiting, &finished, &mut buffers)? {
                    break;
                }
                active.extend(waiting.pop());
            }
            if active.is_empty() && waiting.is_empty() {
                return Ok(());
            }
            with_scratch(|scratch| self.decode(&mut active, &mut buffers, scratch));
            let (v, stride) = (self.net.w.vocabulary, self.net.w.routing);
            let mut kept = Vec::with_capacity(active.len());
            for (row, mut one) in active.drain(..).enumerate() {
                one.routed(&buffers.routing[row * stride..][..stride]);
                if self.extend(&mut one, &buffers.logits[row * v..][..v], &mut buffers.weights)? {
                    one.routed(&vec![UNROUTED; stride]);
                    finished(one.request_index, one.sample, one.out);
                } else {
                    kept.push(one);
                }
            }
            (self.progress)(kept.len());
            active = kept;
        }
    }

    /// Starts the next job: computes its prompt and draws the first token of each sample. Says whether there was a job.
    fn take(
        &self,
        waiting: &mut Vec<Active<'a>>,
        finished: &impl Fn(usize, usize, Sample),
        buffers: &mut Buffers,
    ) -> Result<bool> {
        let Some(job) = self.jobs.get(self.next.fetch_add(1, Ordering::Relaxed)) else { return Ok(false) };
        let request = &self.requests[job.request];
        let prompt = std::rc::Rc::new(with_scratch(|scratch| self.prefill(&request.prompt, buffers, scratch)));
        for sample in job.samples.clone().rev() {
            let limit = request.max_new_tokens.min(self.net.c.context - request.prompt.len());
            let shared = prompt.tokens / LANES * LANES;
            let mut own = self.net.cache(prompt.tokens - shared + limit);
            self.copy_tail(&prompt, shared, &mut own);
            let support = (request.record.support && request.choose.cuts()).then(Ragged::new);
            let routing = request.record.routing.then(|| prompt.routing.clone());
            let out = Sample { tokens: Vec::new(), logp: Vec::new(), stop: StopReason::Length, support, routing };
            let prompt = prompt.clone();
            let mut one = Active { request, request_index: job.request, sample, prompt, own, out, limit };
            let logits = one.prompt.clone();
            if limit == 0 || self.extend(&mut one, &logits.logits, &mut buffers.weights)? {
                one.routed(&vec![UNROUTED; one.out.tokens.len() * self.net.w.routing]);
                finished(one.request_index, one.sample, one.out);
            } else {
                waiting.push(one);
            }
        }
        Ok(true)
    }

    /// Copies the positions of the prompt's last, partial panel into a sample's own cache.
    fn copy_tail(&self, prompt: &Prompt, shared: usize, own: &mut Cache) {
        let net = &self.net;
        let (d, width, count) = (net.c.head_width, net.w.head, prompt.tokens - shared);
        for layer in 0..net.c.layers {
            for kv in 0..net.c.kv_heads {
                let (from_keys, from_values) = net.places(&prompt.cache, layer, kv);
                let (to_keys, to_values) = net.places(own, layer, kv);
                if count > 0 {
                    let panel = &prompt.cache.keys[from_keys][shared * d..][..LANES * d];
                    own.keys[to_keys][..LANES * d].copy_from_slice(panel);
                }
                let rows = &prompt.cache.values[from_values][shared * width..][..count * width];
                own.values[to_values][..count * width].copy_from_slice(rows);
            }
        }
    }

    /// Appends a token drawn from `logits`; says whether the sample is complete.
    fn extend(&self, one: &mut Active<'_>, logits: &[f32], weights: &mut Vec<f32>) -> Result<bool> {
        let key = one.request.key.at(one.sample as u64).at(one.out.tokens.len() as u64);
        let record = one.out.support.is_some();
        let Chosen { token, logp, support } = choose(&self.net, one.request.choose, record, logits, key, weights)?;
        one.out.tokens.push(token);
        one.out.logp.push(logp);
        if let Some(rows) = &mut one.out.support {
            rows.push(support);
        }
        if one.request.stop_tokens.contains(&token) {
            one.out.stop = StopReason::Eos;
            return Ok(true);
        }
        Ok(one.out.tokens.len() >= one.limit)
    }

    /// Computes a prompt, a block of positions at a time.
    fn prefill(&self, tokens: &[u32], buffers: &mut Buffers, scratch: &mut Scratch) -> Prompt {
        let net = &self.net;
        let (h, d) = (net.w.hidden, net.c.head_width);
        let mut cache = net.cache(tokens.len());
        let mut routing = Vec::with_capacity(tokens.len() * net.w.routing);
        for from in (0..tokens.len()).step_by(BLOCK) {
            let to = (from + BLOCK).min(tokens.len());
            let m = to - from;
            buffers.size(net, m);
            let positions: Vec<usize> = (from..to).collect();
            for (line, &id) in buffers.x.chunks_exact_mut(h).zip(&tokens[from..to]) {
                net.embed(id, line);
            }
            for layer in 0..net.c.layers {
                buffers.input(net, layer, m, &positions);
                for (line, &at) in buffers.qkv.chunks_exact(net.w.qkv).zip(&positions) {
                    net.remember(&mut cache, layer, at, line);
                }
                let sequence = net.sequence(&buffers.qkv, Place { prefix: 0..0, own: 0..m });
                for kv in 0..net.c.kv_heads {
                    let seen = net.segment(&cache, layer, kv, to);
                    for head in kv * sequence.group..(kv + 1) * sequence.group {
                        sequence.queries(head, 0, m, &mut scratch.attention.q);
                        let live = |i: usize| from + i + 1;
                        attend(net.isa, m, d, seen, live, &mut scratch.attention, |_, _, _| ());
                        for (i, line) in scratch.attention.out.chunks_exact(net.w.head).take(m).enumerate() {
                            buffers.attention[i * net.w.q + head * d..][..d].copy_from_slice(&line[..d]);
                        }
                    }
                }
                buffers.output(net, layer, m);
            }
            routing.extend_from_slice(&buffers.routing);
        }
        let last = (tokens.len() - 1) % BLOCK;
        let mut logits = vec![0.0; net.w.vocabulary];
        net.logits(1, &buffers.x[last * h..], &mut buffers.y, &mut buffers.factors, &mut logits);
        Prompt { cache, tokens: tokens.len(), logits, routing }
    }

    /// One token further for every active sample; leaves a row of logits each.
    fn decode(&self, active: &mut [Active<'_>], buffers: &mut Buffers, scratch: &mut Scratch) {
        let net = &self.net;
        let (h, m) = (net.w.hidden, active.len());
        buffers.size(net, m);
        let positions: Vec<usize> = active.iter().map(|one| one.prompt.tokens + one.out.tokens.len() - 1).collect();
        for (line, one) in buffers.x.chunks_exact_mut(h).zip(active.iter()) {
            net.embed(one.out.tokens[one.out.tokens.len() - 1], line);
        }
        // Samples of one prompt that fit into a block of queries.
        let each = net.c.heads / net.c.kv_heads;
        let together = (QUERIES / each).max(1);
        let mut runs: Vec<Range<usize>> = Vec::new();
        for (row, one) in active.iter().enumerate() {
            match runs.last_mut() {
                Some(run) if run.len() < together && std::rc::Rc::ptr_eq(&active[run.start].prompt, &one.prompt) => {
                    run.end = row + 1;
                }
                _ => runs.push(row..row + 1),
            }
        }
        for layer in 0..net.c.layers {
            buffers.input(net, layer, m, &positions);
            for (row, one) in active.iter_mut().enumerate() {
                let at = positions[row] - one.shared();
                net.remember(&mut one.own, layer, at, &buffers.qkv[row * net.w.qkv..][..net.w.qkv]);
            }
            for run in &runs {
                for kv in 0..net.c.kv_heads {
                    self.attend_run(layer, kv, run.clone(), active, &positions, buffers, scratch);
                }
            }
            buffers.output(net, layer, m);
        }
        let logits = grow(&mut buffers.logits, m * net.w.vocabulary);
        net.logits(m, &buffers.x, &mut buffers.y, &mut buffers.factors, logits);
    }

    /// Attention of one key head for consecutive samples of one prompt.
    fn attend_run(
        &self,
        layer: usize,
        kv: usize,
        run: Range<usize>,
        active: &[Active<'_>],
        positions: &[usize],
        buffers: &mut Buffers,
        scratch: &mut Scratch,
    ) {
        let net = &self.net;
        let (d, each) = (net.c.head_width, net.c.heads / net.c.kv_heads);
        let (scale, width) = (attention::scale(d), each * d);
        let prompt = &active[run.start];
        let shared = net.segment(&prompt.prompt.cache, layer, kv, prompt.shared());
        let own: Vec<Segment<'_>> = run
            .clone()
            .map(|row| net.segment(&active[row].own, layer, kv, positions[row] + 1 - shared.count))
            .collect();
        // More query heads on one key head than a block of queries holds are attended in parts.
        for first in (0..each).step_by(QUERIES) {
            let count = QUERIES.min(each - first);
            let columns = kv * width + first * d..kv * width + (first + count) * d;
            scratch.attention.q.clear();
            for row in run.clone() {
                let queries = &buffers.qkv[row * net.w.qkv..][columns.clone()];
                scratch.attention.q.extend(queries.iter().map(|x| x * scale));
            }
            attend_together(net.isa, d, shared, &own, count, &mut scratch.attention);
            let mut lines = scratch.attention.out.chunks_exact(net.w.head);
            for row in run.clone() {
                let out = &mut buffers.attention[row * net.w.q..][columns.clone()];
                for (to, from) in out.chunks_exact_mut(d).zip(&mut lines) {
                    to.copy_from_slice(&from[..d]);
                }
            }
        }
    }
}

/// Activations of one step of one thread.
#[derive(Default)]
struct Buffers {
    x: Vec<f32>,
    y: Vec<f32>,
    qkv: Vec<f32>,
    attention: Vec<f32>,
    middle: Vec<f32>,
    gate_up: Vec<f32>,
    hidden: Vec<f32>,
    factors: Vec<f32>,
    logits: Vec<f32>,
    weights: Vec<f32>,
    experts: ExpertsBuffers,
    routes: ExpertsTape,
    /// `[rows][stride]` the experts that the rows of this step use.
    routing: Vec<u16>,
}

impl Buffers {
    fn size(&mut self, net: &Net<'_>, rows: usize) {
        let w = net.w;
        self.routing.clear();
        self.routing.resize(rows * w.routing, UNROUTED);
        for (buffer, width) in [
            (&mut self.x, w.hidden),
            (&mut self.y, w.hidden),
            (&mut self.qkv, w.qkv),
            (&mut self.attention, w.q),
            (&mut self.middle, w.hidden),
            (&mut self.gate_up, 2 * w.feed_forward),
            (&mut self.hidden, w.feed_forward),
            (&mut self.factors, 1),
        ] {
            grow(buffer, rows * width);
        }
    }

    fn input(&mut self, net: &Net<'_>, layer: usize, rows: usize, positions: &[usize]) {
        let layer = &net.layout.layers[layer];
        net.attention_input(layer, rows, &self.x, positions, &mut self.y, &mut self.factors, &mut self.qkv, None);
    }

    fn output(&mut self, net: &Net<'_>, layer: usize, rows: usize) {
        let layer = &net.layout.layers[layer];
        let Buffers { x, y, attention, middle, gate_up, hidden, factors, experts, routes, routing, .. } = self;
        let y = if matches!(layer.feed_forward, FeedForward::Experts(_)) {
            grow(&mut experts.y, rows * net.w.hidden);
            &mut experts.y
        } else {
            y
        };
        net.attention_output(layer, rows, x, attention, middle, y, factors);
        x[..rows * net.w.hidden].copy_from_slice(&middle[..rows * net.w.hidden]);
        match &layer.feed_forward {
            FeedForward::Dense(gated) => net.feed_forward(gated, rows, y, gate_up, hidden, x),
            FeedForward::Experts(e) => {
                net.experts(&Threads::alone(), e, rows, experts, x, &mut routing[..rows * net.w.routing], routes);
            }
        }
    }
}
