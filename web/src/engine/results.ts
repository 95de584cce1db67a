/** Results of an analysis: the records of `mien/schema.py`. */

import type {
  ExpressionRecord,
  FaceRecord,
  HeadPoseRecord,
  QualityRecord,
  ResultRecord,
  VideoFrameRecord,
} from '../generated/results.ts';

export type Expression = ExpressionRecord;
export type Face = FaceRecord;
export type HeadPose = HeadPoseRecord;
export type Quality = QualityRecord;

/** The faces of an image, in pixels of that image. */
export type ImageResult = Pick<ResultRecord, 'width' | 'height' | 'faces'>;

/** The faces of a video frame, with track numbers and smoothed expressions. */
export type FrameResult = ImageResult & Omit<VideoFrameRecord, 'scene'>;
