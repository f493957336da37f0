//! Hours of the day in a zone: `22:00-08:00 Asia/Shanghai`.

/// `quiet`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuietHours {
    /// From this minute of the day on.
    pub from_min: u16,
    /// Until this one.
    pub until_min: u16,
    /// An IANA zone that this machine knows, or an offset like `+08:00`.
    pub zone: String,
}

/// Reads `22:00-08:00 Asia/Shanghai`.
pub(super) fn quiet(text: &str) -> Result<QuietHours, String> {
    let form = || format!("{text:?} is not like \"22:00-08:00 Asia/Shanghai\"");
    let (hours, zone) = text.trim().split_once(' ').ok_or_else(form)?;
    let (from, until) = hours.split_once('-').ok_or_else(form)?;
    let from_min = minute(from).filter(|minute| *minute < 1440);
    let (Some(from_min), Some(until_min)) = (from_min, minute(until)) else {
        return Err(form());
    };
    let until_min = until_min % 1440;
    if from_min == until_min {
        return Err(String::from(
            "begins when it ends; leave out who is never to be disturbed",
        ));
    }
    let zone = zone.trim();
    if time_zone(zone).is_none() {
        return Err(format!(
            "{zone:?} is no time zone of this machine (in /usr/share/zoneinfo), nor an offset like +08:00"
        ));
    }
    Ok(QuietHours {
        from_min,
        until_min,
        zone: zone.to_owned(),
    })
}

/// `08:00`, to `24:00`, in minutes.
fn minute(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let two = |text: &str| -> Option<u16> {
        let digits = text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| text.parse().ok())?
    };
    let (hour, minute) = (two(hour)?, two(minute)?);
    let total = hour * 60 + minute;
    (minute < 60 && total <= 1440).then_some(total)
}

/// A zone by its IANA name, or a fixed offset `+08:00`.
pub fn time_zone(name: &str) -> Option<jiff::tz::TimeZone> {
    let Some((sign, rest)) = [('+', 1), ('-', -1)]
        .into_iter()
        .find_map(|(c, sign)| Some((sign, name.strip_prefix(c)?)))
    else {
        return jiff::tz::TimeZone::get(name).ok();
    };
    let seconds = i32::from(minute(rest)?) * 60 * sign;
    let offset = jiff::tz::Offset::from_seconds(seconds).ok()?;
    Some(jiff::tz::TimeZone::fixed(offset))
}
