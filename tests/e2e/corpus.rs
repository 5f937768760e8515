//! The corpus against the image: status, reason in the error log, and state of the connection, row by row.

use crate::logs::Logged;
use anyhow::{Context, Result, ensure};
use std::net::SocketAddr;
use weir_tests::corpus::{Row, rows};
use weir_tests::raw::Connection;
use weir_tests::{PATIENCE, wait_for};

type Test = fn() -> Result<()>;

pub(crate) const TESTS: &[(&str, Test)] = &[("corpus::every_request_has_its_fate", every_request)];

fn every_request() -> Result<()> {
    let machine = Logged::start("fields = [\"c-port\", \"sc-status\", \"s-reason\"]\n")?;
    let mut wrong = Vec::new();
    let mut asked = Vec::new();
    for row in rows()? {
        match ask(machine.at, &row) {
            Ok(port) => asked.push((row, port)),
            Err(error) => wrong.push(format!("{}: {error:#}", row.name)),
        }
    }
    ensure!(wrong.is_empty(), "{} rows: {wrong:#?}", wrong.len());
    // Requests are sent in log order: one line each, and one more for each that is rejected.
    let expected: Vec<String> =
        asked.iter().filter_map(|(row, _)| Some(row.refused.as_ref()?.reason.clone())).collect();
    let reasons = || -> Result<Vec<String>> {
        let lines = machine.lines("httperr-")?;
        let reasons = lines
            .iter()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.split(' ').nth(11).map(str::to_owned))
            .filter(|reason| !reason.starts_with("Timer_"));
        Ok(reasons.collect())
    };
    let count = || reasons().map_or(0, |reasons| reasons.len());
    let all = || Ok(Some(reasons()?).filter(|reasons| reasons.len() >= expected.len()));
    let reasons = wait_for(|| format!("{} of {} reasons in the log", count(), expected.len()), all)?;
    ensure!(reasons == expected, "{} reasons in the log, expected {}", reasons.len(), expected.len());
    Ok(())
}

/// Sends a row and checks what happens to the connection.
fn ask(at: SocketAddr, row: &Row) -> Result<()> {
    let mut connection = Connection::open(at, PATIENCE)?;
    // A long request may be rejected before all of it is sent.
    let sent = connection.send(&row.request);
    if row.refused.is_none() {
        sent?;
    }
    let to_head = row.request.starts_with(b"HEAD ");
    let mut response = connection.reply(to_head)?.context("no response")?;
    if response.status == 100 {
        response = connection.reply(to_head)?.context("no response after 100")?;
    }
    ensure!(row.status == 0 || response.status == row.status, "{}, expected {}", response.status, row.status);
    let dates = response.head.lines().filter(|line| line.to_ascii_lowercase().starts_with("date:")).count();
    ensure!(dates == 1, "{dates} Date fields, expected one: {}", response.head);
    if row.closes {
        ensure!(connection.is_over()?, "the connection stays open");
        return Ok(());
    }
    connection.send("GET /128 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")?;
    let next = connection.response()?.context("the connection was closed")?;
    ensure!(next.status == 200 && next.content.len() == 128, "the next answer: {}", next.head);
    Ok(())
}
