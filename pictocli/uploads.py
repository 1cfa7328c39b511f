"""Writes objects to S3. The only module here that imports s3fs, and only when a bucket is named."""

from __future__ import annotations

from typing import Any

from pictocli.errors import NotFoundError, PictoError, ValidationError

__all__ = ["IN_FLIGHT", "Bucket"]

IN_FLIGHT = 32  # requests
_TRIES = 4  # of a request that the server or the network fails, with growing pauses
_SECONDS = 20  # without an answer, a try
_CREDENTIALS = "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run aws configure"
_RIGHTS = "the credentials need s3:PutObject there"


class Bucket:
    """What is named s3://bucket/prefix; `put` may be called from IN_FLIGHT threads at once."""

    def __init__(self, url: str) -> None:
        """Connects to nothing yet. Raises ValidationError for what names no bucket, PictoError without s3fs."""
        self.bucket, _, prefix = url.removeprefix("s3://").partition("/")
        prefix = prefix.strip("/")
        if not self.bucket or any(part in ("", ".", "..") for part in prefix.split("/") if prefix):
            raise ValidationError(f"{url} names no place in a bucket", "s3://bucket/prefix")
        self.key = prefix + "/" if prefix else ""  # what the names of objects begin with
        self.name = self.base = f"s3://{self.bucket}/{self.key}"
        self._s3 = _connected()

    def taken(self) -> bool:
        """Whether thumbnails lie there already; False when it may not be looked. Raises as `put` does."""
        try:
            found = self._call("list_objects_v2", Prefix=self.key + "thumb_", MaxKeys=1)
        except _DeniedError:
            return False
        return bool(found.get("KeyCount"))

    def put(self, name: str, body: bytes, media_type: str) -> None:
        """Write one object, as a whole or not at all.

        Raises NotFoundError when there is no such bucket, PictoError when it may not be written or does not answer.
        """
        self._call("put_object", Key=self.key + name, Body=body, ContentType=media_type)

    def _call(self, method: str, **asked: Any) -> dict[str, Any]:
        from botocore import exceptions

        where = f"s3://{self.bucket}"
        try:
            return dict(self._s3.call_s3(method, Bucket=self.bucket, **asked))
        except FileNotFoundError as exc:
            raise NotFoundError(f"there is no bucket {where}", "check its name and region, or make it first") from exc
        except PermissionError as exc:
            raise _DeniedError(f"{where} may not be written: {_said(exc)}", _RIGHTS) from exc
        except (exceptions.NoCredentialsError, exceptions.PartialCredentialsError, exceptions.ProfileNotFound) as exc:
            raise PictoError(f"no credentials for {where}", _CREDENTIALS) from exc
        except (exceptions.ParamValidationError, exceptions.InvalidRegionError) as exc:
            raise ValidationError(f"{where} is no bucket's name", "s3://bucket/prefix") from exc
        except (exceptions.BotoCoreError, OSError) as exc:
            raise PictoError(
                f"{where} cannot be reached: {_said(exc)}", "run the command again to go on from where it stopped"
            ) from exc


class _DeniedError(PictoError):
    """A bucket that exists, and lets nobody in."""


def _said(exc: Exception) -> str:
    """What went wrong, in one line."""
    return " ".join(str(exc).split())[:200] or type(exc).__name__


def _connected() -> Any:
    try:
        import s3fs
    except ImportError as exc:
        raise PictoError("S3 needs the package s3fs", "pip install 'pictocli[remote]'") from exc
    return s3fs.S3FileSystem(
        skip_instance_cache=True,
        config_kwargs={
            "max_pool_connections": IN_FLIGHT, "connect_timeout": _SECONDS, "read_timeout": _SECONDS,
            "retries": {"max_attempts": _TRIES, "mode": "standard"},
        },
    )  # fmt: skip
